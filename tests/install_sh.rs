//! install.sh, run by every shell that is here against a directory, with an executable that only tells its version.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![allow(clippy::disallowed_methods, reason = "a test of a shell script runs it")]

use remotectl::model::digest::Digest;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh");
/// The first is there always, the others where somebody has installed them.
const SHELLS: [&[&str]; 4] = [&["sh"], &["dash"], &["busybox", "ash"], &["bash", "--posix"]];

/// An executable of this architecture, made of a header and a handful of instructions, that prints one line and ends well.
fn elf(line: &str) -> Vec<u8> {
    let length = u32::try_from(line.len()).unwrap();
    let (machine, code): (u16, Vec<u8>) = if cfg!(target_arch = "aarch64") {
        let words: [u32; 8] = [
            0xd280_0020,               // mov x0, 1
            0x1000_00e1,               // adr x1, behind the code
            0xd280_0002 | length << 5, // mov x2, length
            0xd280_0808,               // mov x8, write
            0xd400_0001,               // svc 0
            0xd280_0000,               // mov x0, 0
            0xd280_0ba8,               // mov x8, exit
            0xd400_0001,               // svc 0
        ];
        (183, words.iter().flat_map(|word| word.to_le_bytes()).collect())
    } else {
        let [a, b, c, d] = length.to_le_bytes();
        let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0]; // mov eax, write; mov edi, 1
        code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0, 0xba, a, b, c, d, 0x0f, 0x05]); // lea rsi, [rip+16]; mov edx, length; syscall
        code.extend([0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]); // mov eax, exit; xor edi, edi; syscall
        (62, code)
    };
    let (base, head) = (0x40_0000_u64, 64 + 56_u64);
    let size = head + code.len() as u64 + line.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend([base + head, 64, 0].iter().flat_map(|word: &u64| word.to_le_bytes()));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    file.extend([0, base, base, size, size, 0x1000].iter().flat_map(|word: &u64| word.to_le_bytes()));
    file.extend(code);
    file.extend(line.as_bytes());
    file
}

struct Place {
    directory: tempfile::TempDir,
    shell: &'static [&'static str],
}

impl Place {
    /// One for each shell that is here.
    fn each() -> Vec<Self> {
        let runs = |shell: &&&[&str]| {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", "exit 0"]);
            command.output().is_ok_and(|output| output.status.success())
        };
        let shells: Vec<_> = SHELLS.iter().filter(runs).collect();
        assert!(!shells.is_empty());
        shells.into_iter().map(|shell| Self { directory: tempfile::tempdir().unwrap(), shell }).collect()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) -> String {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn executable(&self, version: &str) -> String {
        self.write("downloaded", &elf(&format!("remotectl {version} (here, protocol 1)\n")))
    }

    fn script(&self, script: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.shell[0]);
        command.args(&self.shell[1..]).arg(script).args(args).current_dir(self.directory.path());
        command.env("PREFIX", self.at("root")).output().unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.script(SCRIPT, args)
    }

    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{:?} {args:?}: {output:?}", self.shell);
        String::from_utf8(output.stdout).unwrap()
    }

    fn complaint(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{:?} {args:?}: {output:?}", self.shell);
        String::from_utf8(output.stderr).unwrap()
    }

    fn installed(&self) -> PathBuf {
        fs::read_link(self.at("root/usr/local/bin/remotectl")).unwrap()
    }

    fn untouched(&self) -> bool {
        fs::read_dir(self.at("root")).is_ok_and(|mut entries| entries.next().is_none())
    }
}

#[test]
fn it_installs_upgrades_and_goes_without_a_trace() {
    for place in Place::each() {
        fs::create_dir_all(place.at("root/usr")).unwrap();
        for version in ["1.0.0", "1.1.0", "1.1.0"] {
            place.succeed(&[&place.executable(version)]);
        }
        let home = place.at("root/opt/remotectl");
        assert_eq!(fs::read_link(home.join("client")).unwrap(), Path::new("versions/1.1.0/remotectl"));
        assert_eq!(place.installed(), Path::new("/opt/remotectl/versions/1.1.0/remotectl"));
        assert_eq!(fs::metadata(home.join("client")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_to_string(home.join("created")).unwrap(), "opt\nusr/local\nusr/local/bin\n");
        assert!(place.succeed(&["--uninstall", "--dry-run"]).contains("would remove"));
        place.succeed(&["--uninstall"]);
        assert!(place.succeed(&["--uninstall"]).contains("there is no remotectl here"));
        assert!(place.at("root/usr").exists() && !place.at("root/opt").exists());
        assert_eq!(fs::read_dir(place.at("root/usr")).unwrap().count(), 0);
    }
}

#[test]
fn what_lies_beside_is_taken_and_held_against_its_sums() {
    for place in Place::each() {
        fs::create_dir_all(place.at("root")).unwrap();
        let script = place.write("dist/install.sh", &fs::read(SCRIPT).unwrap());
        let none = place.script(&script, &[]);
        assert!(String::from_utf8_lossy(&none.stderr).contains("there is no remotectl for"), "{none:?}");
        let machine = std::env::consts::ARCH;
        let name = format!("remotectl-{machine}-unknown-linux-musl");
        let bytes = elf("remotectl 1.2.0\n");
        place.write(&format!("dist/{name}"), &bytes);
        place.write("dist/remotectl", &elf("remotectl 0.9.0\n"));
        place.write("dist/SHA256SUMS", format!("{}  {name}\n", Digest::of(b"another file").as_str()).as_bytes());
        let garbled = place.script(&script, &[]);
        assert!(String::from_utf8_lossy(&garbled.stderr).contains("do not run it"), "{garbled:?}");
        assert!(place.untouched());
        place.write("dist/SHA256SUMS", format!("{} *{name}\n", Digest::of(&bytes).as_str()).as_bytes());
        let dry = place.script(&script, &["--dry-run"]);
        assert!(String::from_utf8_lossy(&dry.stdout).contains("would install remotectl 1.2.0 from"), "{dry:?}");
        assert!(place.untouched());
        assert!(place.script(&script, &[]).status.success());
        assert_eq!(place.installed(), Path::new("/opt/remotectl/versions/1.2.0/remotectl"));
    }
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_installed() {
    for place in Place::each() {
        fs::create_dir_all(place.at("root")).unwrap();
        let good = place.executable("1.0.0");
        let sum = Digest::of(&fs::read(&good).unwrap());
        assert!(place.complaint(&[&good, "00"]).contains("not 00"));
        assert!(place.complaint(&["http://127.0.0.1/x"]).contains("SHA-256"));
        assert!(place.complaint(&["/no/such/file"]).contains("could not be fetched"));
        assert!(place.complaint(&["/etc/passwd"]).contains("no executable for Linux"));
        assert!(place.complaint(&[&place.write("empty", b"")]).contains("no executable for Linux"));
        let mut other = elf("remotectl 1.0.0\n");
        (other[18], other[19]) = if cfg!(target_arch = "aarch64") { (62, 0) } else { (183, 0) };
        let complaint = place.complaint(&[&place.write("other", &other)]);
        let (theirs, ours) = if cfg!(target_arch = "aarch64") { ("x86_64", "aarch64") } else { ("aarch64", "x86_64") };
        assert!(complaint.contains(&format!("is for {theirs}, and this machine is {ours}")), "{complaint}");
        other[18] = 8;
        assert!(place.complaint(&[&place.write("other", &other)]).contains("is for another architecture"));
        let strange = place.executable("1.0;x");
        assert!(place.complaint(&[&strange]).contains("strange version"));
        assert!(place.complaint(&[&place.write("mute", &elf("hello\n"))]).contains("does not tell its version"));
        for (args, says) in [
            (&["--role", "king"][..], "there is no role king"),
            (&["--role"], "--role wants a value"),
            (&["--frobnicate"], "there is no option --frobnicate"),
            (&["a", "b", "c"], "what is c?"),
            (&["--purge"], "--purge goes with --uninstall"),
            (&["--join", "x"], "--join is for an agent"),
            (&["--role", "hub"], "PREFIX is for the command alone"),
        ] {
            assert!(place.complaint(args).contains(says), "{args:?}");
            assert_eq!(place.run(args).status.code(), Some(2));
        }
        assert!(place.untouched());
        place.succeed(&[&place.executable("1.0.0"), sum.as_str()]);
    }
}

#[test]
fn somebody_elses_command_stays() {
    for place in Place::each() {
        place.write("root/usr/local/bin/remotectl", b"somebody else's");
        assert!(place.complaint(&[&place.executable("1.0.0")]).contains("not ours"));
        assert!(place.succeed(&["--uninstall"]).contains("there is no remotectl here"));
        assert_eq!(fs::read_to_string(place.at("root/usr/local/bin/remotectl")).unwrap(), "somebody else's");
    }
}

#[test]
fn half_of_an_installation_is_put_right_or_goes() {
    for place in Place::each() {
        place.succeed(&[&place.executable("1.0.0")]);
        fs::remove_dir_all(place.at("root/opt/remotectl/versions")).unwrap();
        place.succeed(&[&place.executable("1.0.0")]);
        assert!(place.at("root/opt/remotectl/versions/1.0.0/remotectl").exists());
        fs::remove_file(place.at("root/opt/remotectl/client")).unwrap();
        fs::remove_file(place.at("root/usr/local/bin/remotectl")).unwrap();
        place.succeed(&["--uninstall"]);
        assert!(!place.at("root/opt").exists() && !place.at("root/usr").exists());
        // A link that its executable has left behind.
        fs::create_dir_all(place.at("root/usr/local/bin")).unwrap();
        symlink("/opt/remotectl/versions/0.9.0/remotectl", place.at("root/usr/local/bin/remotectl")).unwrap();
        place.succeed(&[&place.executable("1.0.0")]);
        assert_eq!(place.installed(), Path::new("/opt/remotectl/versions/1.0.0/remotectl"));
    }
}

#[test]
fn a_file_that_was_cut_does_nothing() {
    for place in Place::each() {
        fs::create_dir_all(place.at("root")).unwrap();
        let whole = fs::read_to_string(SCRIPT).unwrap();
        let good = place.executable("1.0.0");
        let lines: Vec<&str> = whole.lines().collect();
        for kept in (0..lines.len()).step_by(7) {
            let cut = place.write("cut.sh", lines[..kept].join("\n").as_bytes());
            place.script(&cut, &[&good]);
            assert!(place.untouched(), "cut behind line {kept}");
        }
    }
}

#[test]
fn the_help_names_every_option() {
    for place in Place::each() {
        let help = place.succeed(&["--help"]);
        for option in ["--role", "--join", "--dry-run", "--uninstall", "--purge", "--help", "SHA256SUMS"] {
            assert!(help.contains(option), "{option}");
        }
    }
}
