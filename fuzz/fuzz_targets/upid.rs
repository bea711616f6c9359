//! Any text as a task's name, a size or the key of a second factor: it reads and prints the same, or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use remotectl::{
    model::values::Size,
    proxmox::{TotpKey, Upid},
};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match text.parse::<Upid>() {
        Ok(upid) => assert_eq!(upid.to_string(), text),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(size) = text.parse::<Size>() {
        assert_eq!(size.to_string().parse::<Size>().map(|again| again.bytes()), Ok(size.bytes()));
    }
    if let Some(key) = TotpKey::parse(&text) {
        assert_eq!(key.code(59).len(), 6);
    }
});
