# What a program printed, as an SVG. Lines appear one after another, commands after a pause; where nothing moves, all of it
# is there. A line that begins with `$ ` is a command. Colours are the few that cli::screen writes.

function escaped(text) {
	gsub(/&/, "\\&amp;", text)
	gsub(/</, "\\&lt;", text)
	gsub(/>/, "\\&gt;", text)
	return text
}

function class(code) {
	if (code == "1") return "b"
	if (code == "2") return "d"
	if (code == "31") return "r"
	if (code == "32") return "g"
	if (code == "33") return "y"
	return ""
}

# The spans of a line.
function spans(line,    out, open, name) {
	out = ""
	open = 0
	while (match(line, /\033\[[0-9;]*m/)) {
		out = out escaped(substr(line, 1, RSTART - 1))
		name = class(substr(line, RSTART + 2, RLENGTH - 3))
		line = substr(line, RSTART + RLENGTH)
		if (open) out = out "</tspan>"
		open = name != ""
		if (open) out = out "<tspan class=\"" name "\">"
	}
	return out escaped(line) (open ? "</tspan>" : "")
}

{
	shown = $0
	gsub(/\033\[[0-9;]*m/, "", shown)
	if (shown ~ /^ *$/) {
		blank = rows > 0
		next
	}
	rows += 1 + blank
	blank = 0
	command = shown ~ /^\$ /
	at += command ? (rows > 1 ? 1.5 : 0.3) : (waited ? 0.5 : 0.08)
	waited = command
	texts[rows] = command ? "<tspan class=\"d\">$</tspan><tspan class=\"b\">" escaped(substr(shown, 2)) "</tspan>" : spans($0)
	times[rows] = at
}

END {
	height = rows * 20 + 44
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"%d\" viewBox=\"0 0 900 %d\" role=\"img\" aria-label=\"remotectl at work in a terminal\">\n", height, height
	print "<!-- Made by scripts/cast from what the program printed: `make cast`. -->"
	print "<style>"
	print "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d8dee9;white-space:pre}"
	print ".b{font-weight:bold;fill:#fff}.d{fill:#8a93a3}.r{fill:#ff7b72}.g{fill:#7ee787}.y{fill:#e3b341}"
	print "@keyframes shown{from{opacity:0}to{opacity:1}}text{animation:shown .05s linear both}"
	print "@media (prefers-reduced-motion:reduce){text{animation:none}}"
	print "</style>"
	printf "<rect width=\"900\" height=\"%d\" rx=\"8\" fill=\"#12161d\"/>\n", height
	for (line = 1; line <= rows; line++)
		if (line in texts)
			printf "<text xml:space=\"preserve\" x=\"20\" y=\"%d\" style=\"animation-delay:%.2fs\">%s</text>\n", line * 20 + 16, times[line], texts[line]
	print "</svg>"
}
