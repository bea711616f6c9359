//! The stories.

use super::{
    lab::{Lab, wait_until},
    recorded,
};
use std::time::{Duration, Instant};

/// A test by name.
pub type Story = (&'static str, fn());

/// All of them.
pub const ALL: &[Story] = &[
    ("containers_come_up_and_reboot", containers_come_up_and_reboot),
    ("recorded_fixture_is_what_was_recorded", recorded::fixture_is_what_was_recorded),
    ("recorded_commands_answer_as_recorded", recorded::commands_answer_as_recorded),
];

fn containers_come_up_and_reboot() {
    let start = Instant::now();
    let lab = Lab::up(&[101, 103, 104]);
    eprintln!("up in {:?}", start.elapsed());
    let web = lab.container(101);
    let before = web.nginx_pid().expect("nginx runs");
    web.reboot();
    wait_until("nginx runs again", Duration::from_secs(20), || web.nginx_pid().is_some());
    eprintln!("{before} {:?} {:?}", web.nginx_pid(), start.elapsed());
}
