//! The second factor of a log-in: six digits from a key and the time (TOTP, RFC 6238), as authenticator programs make them.

use ring::hmac;
use std::fmt;

/// How long one code holds, in seconds.
const STEP: u64 = 30;

/// The key that is shared with Proxmox when the second factor is set up.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpKey(Vec<u8>);

impl fmt::Debug for TotpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpKey(…)")
    }
}

impl TotpKey {
    /// Reads the key as Proxmox shows it: base32, in any case, spaces and padding as they please. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut bits, mut held, mut key) = (0_u32, 0_u32, Vec::new());
        for letter in text.trim().trim_end_matches('=').bytes().filter(|letter| !matches!(letter, b' ' | b'-')) {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a',
                b'2'..=b'7' => letter - b'2' + 26,
                _ => return None,
            };
            (bits, held) = (((bits << 5) | u32::from(value)) & 0xfff, held + 5);
            if held >= 8 {
                held -= 8;
                key.push(u8::try_from((bits >> held) & 0xff).ok()?);
            }
        }
        (key.len() >= 10).then_some(Self(key))
    }

    /// The code of a moment, in seconds since the epoch.
    pub fn code(&self, now: i64) -> String {
        let counter = u64::try_from(now).unwrap_or_default() / STEP;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &counter.to_be_bytes());
        let bytes = tag.as_ref();
        let at = usize::from(bytes[bytes.len() - 1] & 0x0f);
        let four = [bytes[at] & 0x7f, bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        format!("{:06}", u32::from_be_bytes(four) % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238's key, `12345678901234567890`.
    const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn codes_are_those_of_the_standard() {
        let key = TotpKey::parse(KEY).unwrap();
        for (now, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(key.code(now), code);
        }
    }

    #[test]
    fn keys_read_as_they_are_shown() {
        let key = TotpKey::parse(KEY);
        assert_eq!(key, TotpKey::parse(" gezd gnbv gy3t qojq GEZD GNBV GY3T QOJQ===\n"));
        for wrong in ["", "GEZD", "GEZDGNBVGY3TQOJQGEZDGNB1", "123456"] {
            assert_eq!(TotpKey::parse(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{:?}", key.unwrap()), "TotpKey(…)");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", now: i64) {
            if let Some(key) = TotpKey::parse(&text) {
                proptest::prop_assert_eq!(key.code(now).len(), 6);
            }
        }
    }
}
