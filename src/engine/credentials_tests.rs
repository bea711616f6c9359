use super::{
    super::{Identity, Parts, delivery::About},
    *,
};
use crate::{
    link::{
        envelope::{Command, DeployOrder},
        join::Pointer,
        keys::SigningKey,
    },
    llm::grammar::Grammar,
    model::{Policy, digest::Digest},
    store::{AgentRecord, Store},
    sys::{aead::AeadKey, files},
};
use std::{path::Path, sync::Arc};

/// Nobody's password.
const SECRET: &str = "correct-horse-battery-staple";

fn engine(directory: &Path, vault: &[u8; 32]) -> Arc<Engine> {
    let key = Arc::new(SigningKey::load_or_make(&directory.join("command.key")).unwrap());
    let pointer = Pointer {
        addresses: vec!["127.0.0.1:1".into()],
        hub: "h".into(),
        fingerprint: Digest::of(b"ca"),
        key: key.public(),
        recovery: None,
        epoch: 1,
        token: None,
    };
    let engine = Engine::new(Parts {
        store: Store::open(&directory.join("hub.db")).unwrap(),
        identity: Identity { pointer, epoch: 1, key, announcement: None },
        vault: AeadKey::new(vault),
        planner: Box::new(Grammar),
        policy: Policy::default(),
        output: directory.join("output"),
        artifacts: directory.join("artifacts"),
    })
    .unwrap();
    let inventory = serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap();
    engine.overview.hear("p", &inventory, 0).unwrap();
    engine
}

fn join(engine: &Engine, id: &str, role: &str, target: Target) -> SigningKey {
    let (key, _) = SigningKey::make();
    let record = AgentRecord {
        id: id.to_owned(),
        public_key: key.public().into(),
        role: role.to_owned(),
        target,
        version: "0.1.0".into(),
        generation: 1,
        joined: "token".into(),
        joined_at: 0,
        facts: None,
        hold: None,
        seal: String::new(),
    };
    engine.roster.insert(record, 0);
    key
}

fn new(name: &str, selector: &str) -> NewCredential {
    NewCredential {
        name: name.into(),
        kind: CredentialKind::Password,
        user: "admin".into(),
        selector: selector.into(),
        address: Some("10.0.0.23".into()),
        port: None,
        jump: None,
        secret: Secret::new(SECRET),
    }
}

fn order(agent: &str, target: Target, work: Work) -> Order {
    let about = About { plan: "P".into(), step: 0, target };
    Order { agent: agent.into(), generation: 1, about, digest: Digest::of(b"plan"), work, timeout: 60 }
}

fn deploy() -> Work {
    let order = DeployOrder {
        nonce: "n".into(),
        join: "rctl1.x".into(),
        addresses: Vec::new(),
        builds: Vec::new(),
        patience: 0,
    };
    Work::Deploy { order }
}

/// What that agent gets to know of an order that came to it.
fn told(key: &SigningKey, order: &Order, id: &str, access: Option<Sealed>) -> Vec<Way> {
    let command = Command {
        hub: "h".into(),
        epoch: 1,
        agent: order.agent.clone(),
        generation: 1,
        seq: 1,
        id: id.into(),
        plan: order.digest.clone(),
        target: order.about.target.clone(),
        work: order.work.clone(),
        access,
        issued: 0,
        expires: 60,
        timeout: 60,
    };
    command.ways(key)
}

/// The first two virtual machines of the fixture.
fn machines(engine: &Engine) -> [Target; 2] {
    let mut all = takes("type=vm", &engine.inventory()).into_iter();
    [all.next().unwrap(), all.next().unwrap()]
}

#[tokio::test]
async fn a_secret_lies_nowhere_in_the_clear_and_comes_back_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path(), &[7; 32]);
    let row = engine.add_credential(new("web", "type=vm"), "ann").await.unwrap();
    assert!(row.readable && !row.targets.is_empty() && row.port == 22);
    let again = engine.add_credential(new("web", "type=vm"), "ann").await.unwrap_err();
    assert_eq!(again.message, "there is a credential web already");
    let [target, _] = machines(&engine);
    join(&engine, "p", "pve-agent", Target::node("pve1"));
    let access = engine.access(&order("p", target, deploy()), "c1").await.unwrap().unwrap();
    assert!(!serde_json::to_string(&access).unwrap().contains(SECRET));
    assert!(!serde_json::to_string(&engine.credential_rows().unwrap()).unwrap().contains(SECRET));
    for file in std::fs::read_dir(directory.path()).unwrap().flatten().filter(|file| file.path().is_file()) {
        let bytes = files::read(&file.path()).unwrap();
        let there = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!there, "{} has it", file.path().display());
    }
    assert!(engine.credential_rows().unwrap()[0].used.is_some());
    engine.remove_credential("web", "ann").await.unwrap();
    assert!(engine.remove_credential("web", "ann").await.unwrap_err().message.contains("no credential web"));
}

#[tokio::test]
async fn an_agent_gets_what_its_guest_needs_and_nobody_else_can_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path(), &[7; 32]);
    let [target, other] = machines(&engine);
    engine.add_credential(new("one", &target.to_string()), "ann").await.unwrap();
    let node = join(&engine, "p", "pve-agent", Target::node("pve1"));
    let stranger = join(&engine, "q", "pve-agent", Target::node("pve2"));
    join(&engine, "a", "agent", target.clone());
    let ours = order("p", target.clone(), deploy());
    let access = engine.access(&ours, "c1").await.unwrap();
    let ways = told(&node, &ours, "c1", access.clone());
    assert_eq!((ways.len(), ways[0].secret.reveal(), ways[0].address.as_str()), (1, SECRET, "10.0.0.23"));
    assert!(told(&stranger, &ours, "c1", access.clone()).is_empty(), "sealed to another");
    assert!(told(&node, &ours, "c2", access.clone()).is_empty(), "for another command");
    assert!(told(&node, &order("p", other.clone(), deploy()), "c1", access).is_empty(), "for another guest");
    for (why, order) in [
        ("another guest", order("p", other, deploy())),
        ("an agent in a guest", order("a", target.clone(), deploy())),
        ("nothing to log in for", order("p", target, Work::Perform { op: Op::GuestStart {} })),
        ("a container", order("p", Target::ct(118), deploy())),
    ] {
        assert_eq!(engine.access(&order, "c").await.unwrap(), None, "{why}");
    }
}

#[tokio::test]
async fn another_secret_takes_the_place_of_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path(), &[7; 32]);
    let [target, _] = machines(&engine);
    let node = join(&engine, "p", "pve-agent", Target::node("pve1"));
    engine.add_credential(new("web", "type=vm"), "ann").await.unwrap();
    let another = |secret: &str| RotateCredential { kind: CredentialKind::Password, secret: Secret::new(secret) };
    assert!(engine.rotate_credential("none", another("new"), "ann").await.is_err());
    assert!(engine.rotate_credential("web", another("two\nlines"), "ann").await.is_err());
    let row = engine.rotate_credential("web", another("new"), "ann").await.unwrap();
    assert!(row.rotated.is_some() && row.readable);
    let ours = order("p", target, deploy());
    let ways = told(&node, &ours, "c1", engine.access(&ours, "c1").await.unwrap());
    assert_eq!(ways[0].secret.reveal(), "new");
}

#[tokio::test]
async fn with_another_key_or_a_changed_row_nothing_opens() {
    let directory = tempfile::tempdir().unwrap();
    let [target, _] = {
        let engine = engine(directory.path(), &[7; 32]);
        engine.add_credential(new("web", "name=nobody-*"), "ann").await.unwrap();
        machines(&engine)
    };
    let engine = engine(directory.path(), &[8; 32]);
    assert!(!engine.credential_rows().unwrap()[0].readable);
    // With the right key: a row that somebody has widened.
    let engine = self::engine(directory.path(), &[7; 32]);
    let record = engine.store.credentials().unwrap().remove(0);
    assert!(engine.secret_of(&record).is_some());
    for changed in [
        CredentialRecord { selector: "type=vm".into(), ..record.clone() },
        CredentialRecord { address: Some("192.0.2.66".into()), ..record.clone() },
        CredentialRecord { user: "root".into(), ..record.clone() },
    ] {
        assert_eq!(engine.secret_of(&changed), None, "{changed:?}");
    }
    assert!(engine.ways_into(&target, &engine.inventory()).unwrap().is_empty());
}

#[tokio::test]
async fn a_host_key_goes_along_once_somebody_has_said_yes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path(), &[7; 32]);
    let [target, _] = machines(&engine);
    engine.add_credential(new("web", "type=vm"), "ann").await.unwrap();
    let known = || engine.ways_into(&target, &engine.inventory()).unwrap()[0].host_key.clone();
    assert_eq!(known(), None);
    let trust = |fingerprint: &str, target: &Target| {
        engine.trust(TrustRequest { target: target.clone(), fingerprint: fingerprint.into() }, "ann")
    };
    assert!(trust("SHA256:short", &target).await.is_err());
    let one = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    assert!(trust(one, &Target::ct(118)).await.is_err());
    trust(one, &target).await.unwrap();
    assert_eq!(known().as_deref(), Some(one));
    // A row that nobody sealed is no yes.
    let forged = HostKeyRecord {
        target: target.clone(),
        fingerprint: one.replace('4', "5"),
        by: "x".into(),
        at: 0,
        seal: "x".into(),
    };
    engine.store.keep_host_key(forged).await.unwrap();
    assert_eq!(known(), None);
}
