//! Randomness from the operating system, and the short names made of it.

use ring::rand::{SecureRandom, SystemRandom};

/// Crockford's base 32: no I, L, O or U, so that a name can be read out aloud.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// A random name of so many letters and digits, upper case.
pub fn name(length: usize) -> String {
    let random: [u8; 64] = bytes();
    random.iter().take(length).map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
}

/// A random identifier of 128 bits: 26 letters and digits, lower case.
pub fn id() -> String {
    name(26).to_ascii_lowercase()
}
