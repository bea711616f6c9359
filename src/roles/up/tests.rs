//! What `up` decides: what a dry run tells, what other nodes are told, what is taken for an answer.

use super::*;
use crate::roles::client::fake::FakeHub;
use serde_json::json;

fn dry(here: &Here) -> Vec<(String, State, String)> {
    let mut told = Vec::new();
    would(here, &mut |step: Step| told.push((step.what, step.state, step.told)));
    told
}

#[test]
fn a_dry_run_tells_what_is_missing() {
    let mut here = here::tests::bare(std::path::Path::new("/nowhere"));
    let told = dry(&here);
    assert_eq!(told[0].2, "would be installed as remotectl-hub, listening on 127.0.0.1:0");
    assert!(told[1].2.contains("remotectl@pve"), "{told:?}");
    here.hub = here::tests::running();
    here.pve_agent = here::tests::running();
    here.pve_agent.missing = vec![PathBuf::from("/etc/systemd/system/remotectl-pve-agent.service")];
    let told = dry(&here);
    assert_eq!((told[0].1, told[0].2.as_str()), (State::There, "runs, pid 4410"));
    assert_eq!(
        (told[1].1, told[1].2.as_str()),
        (State::Would, "would put back /etc/systemd/system/remotectl-pve-agent.service")
    );
}

#[test]
fn another_node_gets_a_command_of_its_own_while_they_are_few() {
    let hub = FakeHub::default()
        .answering("POST /api/v1/join-tokens", Ok(json!({"join_string": "rctl1.abc", "expires": 600})));
    let other = |shown| super::other(&hub.hub(), "pve2", shown).unwrap().command;
    let command = other(true).unwrap();
    assert!(command.contains("root@pve2:/tmp/remotectl") && command.contains("--join rctl1.abc;"), "{command}");
    assert_eq!(other(false), None);
    assert_eq!(hub.asked(), [r#"POST /api/v1/join-tokens {"role":"pve-agent","target":"node/pve2"}"#]);
}

#[test]
fn a_taken_port_is_told_with_the_command_that_was_typed() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut here = here::tests::bare(std::path::Path::new("/nowhere"));
    here.place.listen = vec![taken.local_addr().unwrap().to_string()];
    let failure = here.place.free().map_err(said_for_up).unwrap_err();
    assert!(failure.message.contains("listening on 127.0.0.1:"), "{failure}");
    assert!(failure.help.unwrap().contains("`remotectl up --listen ADDRESS:PORT`"));
    here.place.listen = vec!["127.0.0.1:0".to_owned()];
    here.place.free().unwrap();
}

#[test]
fn waiting_ends_with_the_answer_or_with_the_time() {
    let mut asked = 0;
    let answer = until(Duration::from_mins(1), || {
        asked += 1;
        Ok((asked == 3).then_some(asked))
    });
    assert_eq!(answer, Ok(Some(3)));
    assert_eq!(until(Duration::ZERO, || Ok(None::<()>)), Ok(None));
    assert!(until(Duration::from_mins(1), || Err::<Option<()>, _>(Failure::new("no"))).is_err());
}
