//! A network that is not there, only half there, or slow: agents and a real hub with a proxy between them. Whatever it does
//! meanwhile, nothing is started twice, every command has an honest end, and afterwards they find each other again.

use super::common::{Agent, Hub};
use remotectl::{
    link::{join::Pointer, wire::AgentRole},
    model::{Answer, messages::PlanRecord},
};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What a connection may be cut off for in silence: the longest poll and its margin, twice.
const PATIENCE: Duration = Duration::from_secs(100);
/// How long the network stays as it is.
const TROUBLE: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// What the agent says is lost; what the hub says arrives.
    LostUp,
    /// The other way round.
    LostDown,
    /// Nothing arrives, and no connection ends; those that are open stay so for ever.
    HalfOpen,
    /// Every connection ends at once, with a reset.
    Reset,
    /// One byte at a time.
    Trickle,
}

struct Proxy {
    address: String,
    fault: Arc<Mutex<Fault>>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (fault, over) = (Arc::new(Mutex::new(Fault::None)), Arc::new(AtomicBool::new(false)));
        let (seen, ending) = (Arc::clone(&fault), Arc::clone(&over));
        thread::spawn(move || {
            for agent in listener.incoming().map_while(Result::ok) {
                if ending.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(hub) = TcpStream::connect(&to) else { continue };
                for up in [true, false] {
                    let (from, into) = if up { (&agent, &hub) } else { (&hub, &agent) };
                    let (from, into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    let (seen, ending) = (Arc::clone(&seen), Arc::clone(&ending));
                    thread::spawn(move || carry(from, into, up, &seen, &ending));
                }
            }
        });
        Self { address, fault, over }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees that it is over.
        TcpStream::connect(&self.address).ok();
    }
}

/// One direction of a connection, until it ends.
fn carry(mut from: TcpStream, mut into: TcpStream, up: bool, fault: &Mutex<Fault>, over: &AtomicBool) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    into.set_nodelay(true).ok();
    let mut buffer = [0; 16 << 10];
    // What was half open once stays so: nobody tells its ends that the network is back.
    let mut dead = false;
    while !over.load(Ordering::Relaxed) {
        let now = *fault.lock().unwrap();
        dead |= now == Fault::HalfOpen;
        if now == Fault::Reset {
            for socket in [&from, &into] {
                rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).ok();
            }
            return;
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        let lost = dead || now == if up { Fault::LostUp } else { Fault::LostDown };
        let pieces = if now == Fault::Trickle { 1 } else { read };
        if !lost && !buffer[..read].chunks(pieces).all(|piece| into.write_all(piece).is_ok()) {
            break;
        }
    }
    if !dead {
        into.shutdown(Shutdown::Both).ok();
        from.shutdown(Shutdown::Both).ok();
    }
}

fn record(hub: &Hub, id: &str) -> PlanRecord {
    hub.get(&format!("/api/v1/plans/{id}")).unwrap()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Orders something that changes something, and gives the plan's id.
fn order(hub: &Hub) -> String {
    let plan = hub.plan("exec.run", "host/box", &[("command", "touch /nowhere/x")]);
    hub.approve(&plan).unwrap();
    hub.begin(&plan);
    plan.id
}

fn end(hub: &Hub, id: &str) -> String {
    wait_until("the plan has ended", || record(hub, id).state.terminal());
    let Answer::Plan(view) = record(hub, id).answer else { panic!("no plan") };
    assert_eq!(view.results.len(), 1);
    view.results[0].state.clone()
}

fn converges(fault: Fault) {
    let hub = Hub::start();
    let proxy = Proxy::start(hub.address.clone());
    let string: Pointer = hub.join_string("agent").parse().unwrap();
    let through = Pointer { addresses: vec![proxy.address.clone()], ..string };
    let agent = Agent::join_with(&through.to_string(), AgentRole::Agent, "host/box").unwrap();
    hub.wait_online(&agent.target);
    assert_eq!(end(&hub, &order(&hub)), "succeeded");

    // One is under way when it begins, one is ordered meanwhile.
    let held = agent.hold();
    let under_way = order(&hub);
    wait_until("it is under way", || agent.performed().len() == 2);
    proxy.set(fault);
    drop(held);
    let meanwhile = order(&hub);
    thread::sleep(TROUBLE);
    proxy.set(Fault::None);
    let ends = [end(&hub, &under_way), end(&hub, &meanwhile)];
    assert_eq!(ends[0], "succeeded", "{fault:?}: its result is told until the hub has it");
    let started = agent.performed().len() - 2;
    match ends[1].as_str() {
        "succeeded" => assert_eq!(started, 1, "{fault:?}"),
        "unknown" => assert!(started <= 1, "{fault:?}"),
        _ => assert_eq!(started, 0, "{fault:?}: {ends:?}"),
    }
    // As before.
    hub.wait_online(&agent.target);
    let again = agent.performed().len();
    assert_eq!(end(&hub, &order(&hub)), "succeeded", "{fault:?}");
    assert_eq!(agent.performed().len(), again + 1);
    wait_until("nothing is left untold", || agent.undelivered().is_empty());
    println!("{fault:?}: what was under way {}, what was ordered meanwhile {}", ends[0], ends[1]);
}

#[test]
fn agents_and_hub_converge_after_whatever_the_network_does() {
    let faults = [Fault::LostUp, Fault::LostDown, Fault::HalfOpen, Fault::Reset, Fault::Trickle];
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || converges(fault));
        }
    });
}
