//! What a process holds in memory, as the kernel counts it.

use std::fs;

/// KiB of a process that are in memory.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// All of it.
    pub resident: u64,
    /// What is its alone: heap, stacks, relocated data.
    pub own: u64,
    /// Pages of the executable, which processes that run the same file share and which the kernel takes back when it wants.
    pub file: u64,
}

impl Memory {
    /// Of a running process.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self { resident: line("VmRSS:"), own: line("RssAnon:"), file: line("RssFile:") }
    }
}
