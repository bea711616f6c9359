//! Commands that are not what they should be, for an agent that polls; and a hub whose clock jumps.

use super::{
    common::{Agent, wait_until},
    scripted::Scripted,
};
use remotectl::{
    link::{
        envelope::{Command, Signed},
        keys::SigningKey,
        wire::AgentRole,
    },
    model::outcome::Ending,
};

const DAY: i64 = 86_400;

fn joined(hub: &Scripted) -> Agent {
    Agent::join_with(&hub.pointer.to_string(), AgentRole::Agent, "host/box").unwrap()
}

/// A genuine command, and its end: whoever has refused something goes on with what is genuine.
fn goes_on(hub: &Scripted, agent: &Agent, command: &Command, key: &SigningKey) {
    hub.say(vec![command.sign(key)], None);
    wait_until(&format!("{} is done", command.id), || !hub.results(&command.id).is_empty());
    assert_eq!(agent.commands().last(), Some(&command.id));
    assert_eq!(hub.results(&command.id)[0].ending, Ending::Succeeded);
}

#[test]
fn an_agent_obeys_its_own_hubs_order_to_itself_and_nothing_else() {
    let hub = Scripted::start();
    let agent = joined(&hub);
    let other = SigningKey::make().0;
    goes_on(&hub, &agent, &hub.command(1), &hub.key);
    let good = || hub.command(50);
    let signed = good().sign(&hub.key);
    let wrong: Vec<(&str, Signed)> = vec![
        ("another service", Signed { payload: signed.payload.replace("nginx", "ngin0"), ..signed.clone() }),
        ("one space more", Signed { payload: format!("{} ", signed.payload), ..signed.clone() }),
        ("no signature", Signed { signature: String::new(), ..signed.clone() }),
        ("another one's signature", Signed { signature: hub.command(51).sign(&hub.key).signature, ..signed.clone() }),
        ("another key", good().sign(&other)),
        ("the recovery key, which orders nothing", good().sign(&hub.recovery)),
        ("another agent", Command { agent: other.public().agent_id(), ..good() }.sign(&hub.key)),
        ("another hub", Command { hub: "hother".into(), ..good() }.sign(&hub.key)),
        ("a generation before", Command { generation: 0, ..good() }.sign(&hub.key)),
        ("a generation after", Command { generation: 2, ..good() }.sign(&hub.key)),
        ("an epoch before", Command { epoch: 0, ..good() }.sign(&hub.key)),
        ("an epoch that nobody has announced", Command { epoch: 2, ..good() }.sign(&hub.key)),
        ("no command at all", {
            let payload = r#"{"hub":"hscripted","do":"anything"}"#.to_owned();
            Signed { signature: hub.key.sign(payload.as_bytes()), payload }
        }),
    ];
    for (at, (what, signed)) in wrong.into_iter().enumerate() {
        let polls = hub.polls();
        hub.say(vec![signed], None);
        wait_until("it has polled again", || hub.polls() > polls + 1);
        assert!(hub.last_poll().unwrap().high_water < 50, "{what} was taken");
        goes_on(&hub, &agent, &hub.command(2 + at as u64), &hub.key);
    }
    assert!(!agent.commands().contains(&"c50".to_owned()) && !agent.commands().contains(&"c51".to_owned()));
}

#[test]
fn what_comes_twice_late_or_out_of_order_is_started_once_at_most() {
    let hub = Scripted::start();
    let agent = joined(&hub);
    let sign = |seq| hub.command(seq).sign(&hub.key);
    // The same in one answer, in the next one, and behind later ones.
    hub.say(vec![sign(1), sign(1), sign(2)], None);
    hub.say(vec![sign(1), sign(2), sign(3)], None);
    hub.say(vec![sign(5), sign(4), sign(2)], None);
    wait_until("the last one has ended", || !hub.results("c5").is_empty());
    goes_on(&hub, &agent, &hub.command(6), &hub.key);
    // 4 came behind 5: the mark had passed it, and the hub's lease ends it as unknown.
    assert_eq!(agent.commands(), ["c1", "c2", "c3", "c5", "c6"]);
    let late = Command { issued: 1, expires: 2, ..hub.command(7) };
    hub.say(vec![late.sign(&hub.key)], None);
    wait_until("it is answered", || !hub.results("c7").is_empty());
    assert_eq!(hub.results("c7")[0].ending, Ending::Rejected);
    for id in ["../../etc/passwd".to_owned(), "a\0b\n\u{202e}".to_owned(), "x".repeat(4096)] {
        let seq = 8 + agent.commands().len() as u64;
        goes_on(&hub, &agent, &Command { id, ..hub.command(seq) }, &hub.key);
    }
    assert_eq!(agent.commands().len(), 8);
}

#[test]
fn an_agent_follows_the_recovery_key_and_nobody_else_into_an_epoch() {
    let hub = Scripted::start();
    let agent = joined(&hub);
    goes_on(&hub, &agent, &hub.command(1), &hub.key);
    let next = SigningKey::make().0;
    let announced = hub.announcement(7, &next);
    let of_then = |seq| Command { epoch: 7, ..hub.command(seq) };
    for forged in [announced.sign(&hub.key), announced.sign(&next)] {
        let polls = hub.polls();
        hub.say(vec![of_then(50).sign(&next)], Some(forged));
        wait_until("it has polled again", || hub.polls() > polls + 1);
        assert_eq!(hub.last_poll().unwrap().epoch, 1);
    }
    goes_on(&hub, &agent, &hub.command(2), &hub.key);
    hub.say(Vec::new(), Some(announced.sign(&hub.recovery)));
    wait_until("it has followed", || hub.last_poll().unwrap().epoch == 7);
    goes_on(&hub, &agent, &of_then(3), &next);
    // Neither the former key nor the former epoch counts any more, and an old announcement leads nobody back.
    let back = hub.announcement(6, &hub.key).sign(&hub.recovery);
    for old in [of_then(60).sign(&hub.key), hub.command(60).sign(&hub.key), hub.command(60).sign(&next)] {
        let polls = hub.polls();
        hub.say(vec![old], Some(back.clone()));
        wait_until("it has polled again", || hub.polls() > polls + 1);
    }
    goes_on(&hub, &agent, &of_then(4), &next);
    assert_eq!(hub.last_poll().unwrap().epoch, 7);
    assert_eq!(agent.commands(), ["c1", "c2", "c3", "c4"]);
}

/// The hub's clock jumps a day ahead, two back, and so on: its agents follow, and what it orders is done.
#[test]
fn agents_follow_a_clock_that_jumps() {
    let hub = Scripted::start();
    hub.shift(DAY);
    let agent = joined(&hub);
    for (seq, shift) in [DAY, -DAY, 0, 3600, -3600, DAY].into_iter().enumerate() {
        let refused = hub.refused();
        hub.shift(shift);
        goes_on(&hub, &agent, &hub.command(1 + seq as u64), &hub.key);
        assert!(hub.refused() <= refused + 8, "once for each connection, not again and again");
    }
    assert_eq!(agent.commands().len(), 6);
}
