//! This executable's version, kept where it can also be read out of a file without running it: what a hub holds for
//! machines of another architecture says by itself what it is, whatever the file is called.

use semver::Version;
use std::hint::black_box;

/// Bytes that begin a stamp. The literal is only read while compiling: in the executable they stand once.
const MAGIC: &[u8; 32] = b"\x7fremotectl\x00version\x00\xd3\x1c\xa9\x5e\x86\xf0\x27\xbb\x4d\x92\xe8\x61\x05";
/// A stamp's bytes: the magic, the version, zeros.
const LENGTH: usize = 96;

#[used]
static STAMP: [u8; LENGTH] = stamp(env!("CARGO_PKG_VERSION").as_bytes());

const fn stamp(version: &[u8]) -> [u8; LENGTH] {
    assert!(version.len() + MAGIC.len() < LENGTH, "the version is too long for its stamp");
    let mut bytes = [0; LENGTH];
    let mut at = 0;
    while at < MAGIC.len() {
        bytes[at] = MAGIC[at];
        at += 1;
    }
    while at < MAGIC.len() + version.len() {
        bytes[at] = version[at - MAGIC.len()];
        at += 1;
    }
    bytes
}

/// This executable's version, such as `0.1.0`: what its file says, not what the compiler knew.
pub fn version() -> &'static str {
    // Else the compiler would put its own knowledge in the stamp's place.
    let stamp = black_box(&STAMP);
    read(stamp).unwrap_or(env!("CARGO_PKG_VERSION"))
}

/// A stamp found in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// Where it begins, in bytes.
    pub at: usize,
    /// What it says.
    pub version: &'a str,
}

impl<'a> Stamp<'a> {
    /// The stamp of an executable of ours; `None` where there is none, or where two disagree.
    pub fn find(file: &'a [u8]) -> Option<Self> {
        let magic = &black_box(&STAMP)[..MAGIC.len()];
        let mut found: Option<Self> = None;
        for (at, window) in file.windows(LENGTH).enumerate().filter(|(_, window)| window[0] == magic[0]) {
            let Some(version) = window.starts_with(magic).then(|| read(window)).flatten() else { continue };
            if found.is_some_and(|before| before.version != version) {
                return None;
            }
            found = found.or(Some(Self { at, version }));
        }
        found
    }
}

/// The same executable saying that it is another version: for tests of updating, which need one without a second build.
/// `None` where the file has no stamp or the version does not fit into it.
pub fn restamped(file: &[u8], version: &str) -> Option<Vec<u8>> {
    let at = Stamp::find(file)?.at + MAGIC.len();
    let room = LENGTH - MAGIC.len();
    if !is_version(version) || version.len() >= room {
        return None;
    }
    let mut copy = file.to_vec();
    copy[at..at + room].fill(0);
    copy[at..at + version.len()].copy_from_slice(version.as_bytes());
    Some(copy)
}

/// Whether a text is a version: by semver's rules, which also keep it from being a path or more than one word.
pub fn is_version(text: &str) -> bool {
    Version::parse(text).is_ok()
}

/// Whether one version is newer than another; what is no version is older than all that are.
pub fn is_newer(one: &str, other: &str) -> bool {
    Version::parse(one).ok() > Version::parse(other).ok()
}

fn read(stamp: &[u8]) -> Option<&str> {
    let text = stamp.get(MAGIC.len()..LENGTH)?.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok().filter(|text| is_version(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_its_version_and_a_copy_another() {
        let file = [&b"\x7fELF..."[..], &stamp(b"0.1.0"), b"rest"].concat();
        assert_eq!(Stamp::find(&file), Some(Stamp { at: 7, version: "0.1.0" }));
        let newer = restamped(&file, "0.10.0-rc.1").unwrap();
        assert_eq!((newer.len(), Stamp::find(&newer).unwrap().version), (file.len(), "0.10.0-rc.1"));
        for bad in ["", "latest", "1", "../1.0.0", "1.0.0 x", &format!("1.0.0-{}", "x".repeat(80))] {
            assert_eq!(restamped(&file, bad), None, "{bad}");
        }
    }

    #[test]
    fn no_stamp_a_cut_one_and_two_that_disagree_say_nothing() {
        assert_eq!(Stamp::find(b"anything"), None);
        assert_eq!(Stamp::find(&stamp(b"0.1.0")[..LENGTH - 1]), None);
        assert_eq!(Stamp::find(&stamp(b"../../x")), None);
        assert_eq!(Stamp::find(&[stamp(b"0.1.0"), stamp(b"0.2.0")].concat()), None);
        assert_eq!(Stamp::find(&[stamp(b"0.1.0"), stamp(b"0.1.0")].concat()).unwrap().at, 0);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_newer("0.10.0", "0.9.4") && !is_newer("0.9.4", "0.10.0") && !is_newer("1.0.0", "1.0.0"));
        assert!(is_newer("1.0.0", "1.0.0-rc.1") && is_newer("0.0.1", "test") && !is_newer("test", "0.0.1"));
    }
}
