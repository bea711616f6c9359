//! The product's own client against the simulated cluster: what it reads is what the simulator was built from.

use remotectl::{
    model::{
        inventory::{Guest, Inventory},
        values::GuestKind,
    },
    proxmox::{
        Access, Client, Known, Token, Verify, inventory,
        requests::{self, Place},
    },
    sim::{self, Cluster, Memory, certificates::Root, server},
    sys::secret::Secret,
};
use serde_json::Value;
use std::{fs, net::TcpListener, sync::Arc, time::Duration};

const SECRET: &str = "8a4f7a9c-5b0e-4d59-9a51-1f2f3a4b5c6d";

/// What Proxmox itself knows of a guest.
fn known(guest: &Guest) -> impl PartialEq + std::fmt::Debug + use<> {
    let Guest { vmid, kind, name, node, status, template, tags, pool, memory_mib, .. } = guest.clone();
    (vmid, kind, name, node, status, template, tags, pool, memory_mib)
}

#[test]
fn the_client_reads_what_the_simulator_was_built_from() {
    let homelab: Inventory = serde_json::from_str(include_str!("../fixtures/homelab.json")).expect("an inventory");
    let mut access = sim::Access::new("unused-password");
    let token = sim::access::Token { secret: SECRET.to_owned(), separated: false, expire: 0, comment: None };
    access.users.entry("root@pam".to_owned()).or_default().tokens.insert("test".to_owned(), token);
    let cluster = Arc::new(Cluster::new(Arc::new(Memory::new(homelab.clone())), access));
    let root = Root::new("homelab").expect("a root");
    let certificate = root.certify("pve1", &[]).expect("a certificate");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let guard = runtime.enter();
    let tls = server::Access::Tls(certificate.config);
    let server = server::Server::start(listener, tls, cluster, "pve1").expect("a server");
    drop(guard);

    let folder = tempfile::tempdir().expect("a folder");
    let authority = folder.path().join("pve-root-ca.pem");
    fs::write(&authority, root.pem()).expect("it can be written");
    let client = Client::connect(&Access {
        address: server.address.to_string(),
        verify: Verify::AuthorityFile(authority),
        token: Token { id: "root@pam!test".to_owned(), secret: Secret::new(SECRET.to_owned()) },
    });
    let client = client.expect("a client");
    let read = inventory(&client, &mut Known::default()).expect("the inventory");
    assert_eq!(read.cluster, homelab.cluster);
    assert_eq!(read.nodes.len(), homelab.nodes.len());
    assert_eq!(read.storages.len(), homelab.storages.len());
    assert_eq!(read.guests.len(), homelab.guests.len());
    for guest in &homelab.guests {
        let told = read.guest(guest.vmid).unwrap_or_else(|| panic!("{} is missing", guest.label()));
        assert_eq!(known(told), known(guest));
    }
    let nobody = Place { node: "pve1", kind: GuestKind::Ct, vmid: 999 };
    let missing = client.ask::<Value>(&requests::guests::current(&nobody)).expect_err("there is no 999");
    assert!(format!("{missing:?}").contains("does not exist"), "{missing:?}");
    runtime.block_on(server.stop());
    runtime.shutdown_timeout(Duration::from_secs(5));
}
