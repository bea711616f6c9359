//! The cluster that the recording was made on, as the simulator is told about it.

use remotectl::{
    model::{
        inventory::{Guest, Inventory, Node, Os, Storage},
        values::GuestKind,
    },
    sim::{
        Access,
        access::{Entry, Token, User},
    },
};

/// Everybody's.
pub const PASSWORD: &str = "a-good-password";

/// One node, its guests and storages.
pub fn inventory() -> Inventory {
    let node = Node {
        name: "pve1".to_owned(),
        status: "online".to_owned(),
        address: Some("10.99.0.1".to_owned()),
        cores: 2,
        memory_mib: 24_105,
        version: Some("9.2.11".to_owned()),
        pve_agent: None,
    };
    let storage = |name: &str, kind: &str, content: &[&str]| Storage {
        name: name.to_owned(),
        kind: kind.to_owned(),
        content: content.iter().map(|word| (*word).to_owned()).collect(),
        used_gib: 1,
        total_gib: 8,
        nodes: vec!["pve1".to_owned()],
    };
    let (ct, vm) = (GuestKind::Ct, GuestKind::Vm);
    let guests = [
        (vm, 100, "app", 1, 512, "prod"),
        (ct, 101, "web", 1, 128, "prod;web"),
        (ct, 102, "dns", 2, 128, ""),
        (ct, 103, "db", 2, 128, ""),
        (vm, 105, "blank", 1, 128, ""),
        (vm, 106, "noagent", 1, 128, ""),
    ];
    Inventory {
        cluster: "test".to_owned(),
        nodes: vec![node],
        storages: vec![
            storage("local", "dir", &["backup", "rootdir", "images", "snippets", "vztmpl", "iso"]),
            storage("local-btrfs", "btrfs", &["images", "rootdir"]),
        ],
        guests: guests.into_iter().map(guest).collect(),
    }
}

/// A stopped guest.
pub fn guest((kind, vmid, name, cores, memory_mib, tags): (GuestKind, u32, &str, u32, u64, &str)) -> Guest {
    Guest {
        vmid,
        kind,
        name: name.to_owned(),
        node: "pve1".to_owned(),
        status: "stopped".to_owned(),
        template: vmid >= 110,
        tags: tags.split(';').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        pool: None,
        os: Os::default(),
        addresses: Vec::new(),
        cores,
        memory_mib,
        disk_gib: 1,
        snapshots: Vec::new(),
        agent: None,
        services: Vec::new(),
        guest_agent: (vmid == 100).then_some(true),
        lock: None,
        ha: None,
        incarnation: None,
    }
}

/// Users, rights and tokens.
pub fn access() -> Access {
    let mut access = Access::new(PASSWORD);
    for user in ["low@pve", "audit@pve", "op@pve"] {
        let user_of = User { password: Some(PASSWORD.to_owned()), enabled: true, ..User::default() };
        access.users.insert(user.to_owned(), user_of);
    }
    access.roles.insert("Power".to_owned(), ["VM.PowerMgmt", "VM.Audit"].map(str::to_owned).into());
    let entry = |path: &str, subject: &str, role: &str| Entry {
        path: path.to_owned(),
        kind: "user",
        subject: subject.to_owned(),
        role: role.to_owned(),
        propagate: true,
    };
    access.entries.push(entry("/", "audit@pve", "PVEAuditor"));
    access.entries.push(entry("/vms/101", "op@pve", "Power"));
    let token = |separated, expire| Token {
        secret: "8a4f7a9c-5b0e-4d59-9a51-1f2f3a4b5c6d".to_owned(),
        separated,
        expire,
        comment: None,
    };
    let root = access.users.get_mut("root@pam").expect("root is there");
    root.tokens.extend([
        ("full".to_owned(), token(false, 0)),
        ("sep".to_owned(), token(true, 0)),
        ("old".to_owned(), token(false, 1_000_000_000)),
    ]);
    access
}
