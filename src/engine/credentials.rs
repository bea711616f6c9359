//! The vault: ways to log in to guests that have neither agent nor guest agent. A secret comes in once, is sealed with a key
//! that is a file beside the database, and leaves only inside the envelope of a command that needs it, sealed to the one
//! agent that carries it out. No plan, result, event or log has it, and nothing gives it back.

use super::{Engine, asking::stored, delivery::Order, seal::Row};
use crate::{
    link::{
        envelope::{Work, about_access},
        sealed::Sealed,
        wire::AgentRole,
    },
    model::{
        Failure, Inventory, Op, Target,
        credential::{self, CredentialKind, Way},
        messages::{CredentialRow, NewCredential, RotateCredential, TrustRequest},
        secret::Secret,
        selector::{self, Selection},
        target::{What, is_name},
        values::GuestKind,
    },
    store::{CredentialRecord, HostKeyRecord, StoreError},
    sys::clock,
};

/// The longest secret that is kept, in bytes: an RSA key of 16,384 bits has 13 KB.
const LONGEST: usize = 16 << 10;
/// The most ways into one guest that are handed out: each is tried, and servers count failures.
const MOST: usize = 4;

impl Engine {
    /// Keeps a way to log in.
    pub async fn add_credential(&self, new: NewCredential, operator: &str) -> Result<CredentialRow, Failure> {
        check(&new)?;
        let NewCredential { name, kind, user, selector, address, port, jump, secret } = new;
        let port = port.unwrap_or(credential::SSH);
        let (sealed, created) = (Vec::new(), clock::unix_seconds());
        let record = CredentialRecord {
            name,
            kind,
            user,
            selector,
            address,
            port,
            jump,
            sealed,
            created,
            rotated: None,
            used: None,
        };
        let record = self.with_secret(record, &secret);
        let kept = self.store.add_credential(record.clone(), operator.to_owned()).await;
        kept.map_err(|error| stored("keeping the credential", &error))?;
        Ok(self.row_of(record, &self.inventory()))
    }

    /// Puts another secret in place.
    pub async fn rotate_credential(
        &self,
        name: &str,
        request: RotateCredential,
        operator: &str,
    ) -> Result<CredentialRow, Failure> {
        let RotateCredential { kind, secret } = request;
        check_secret(kind, &secret)?;
        let record = self.store.credentials().map_err(|error| stored("reading the credentials", &error))?;
        let record = record.into_iter().find(|record| record.name == name).ok_or_else(|| unknown(name))?;
        let now = clock::unix_seconds();
        let record = self.with_secret(CredentialRecord { kind, rotated: Some(now), ..record }, &secret);
        let kept = self.store.rotate_credential(record.clone(), now, operator.to_owned()).await;
        if !kept.map_err(|error| stored("keeping the credential", &error))? {
            return Err(unknown(name));
        }
        Ok(self.row_of(record, &self.inventory()))
    }

    /// Forgets a way to log in.
    pub async fn remove_credential(&self, name: &str, operator: &str) -> Result<(), Failure> {
        let gone = self.store.remove_credential(name.to_owned(), clock::unix_seconds(), operator.to_owned()).await;
        if gone.map_err(|error| stored("removing the credential", &error))? { Ok(()) } else { Err(unknown(name)) }
    }

    /// The ways to log in, without their secrets.
    pub fn credential_rows(&self) -> Result<Vec<CredentialRow>, StoreError> {
        let inventory = self.inventory();
        Ok(self.store.credentials()?.into_iter().map(|record| self.row_of(record, &inventory)).collect())
    }

    /// Keeps an operator's yes to a guest's host key.
    pub async fn trust(&self, request: TrustRequest, operator: &str) -> Result<(), Failure> {
        let TrustRequest { target, fingerprint } = request;
        if !credential::is_fingerprint(&fingerprint) {
            let failure = Failure::usage(format!("`{fingerprint}` is no fingerprint of a host key"));
            return Err(failure.help("SHA256: and 43 characters, as `ssh-keygen -lf` shows it"));
        }
        if !is_machine(&target) {
            return Err(Failure::usage(format!("{target} is no virtual machine: nobody logs in there")));
        }
        let seal = self.identity.seal(&Row::HostKey { target: &target, fingerprint: &fingerprint });
        let (by, at) = (operator.to_owned(), clock::unix_seconds());
        let kept = self.store.keep_host_key(HostKeyRecord { target, fingerprint, by, at, seal }).await;
        kept.map_err(|error| stored("keeping the host key", &error))
    }

    /// What an order needs to log in where it leads, sealed to the agent that it is for.
    pub(super) async fn access(&self, order: &Order, command: &str) -> Result<Option<Sealed>, StoreError> {
        let target = &order.about.target;
        if !is_machine(target) || !reaches_in(&order.work) {
            return Ok(None);
        }
        let agent = self.roster.get(&order.agent);
        let Some(agent) = agent.filter(|agent| agent.record.role == AgentRole::PveAgent.as_str()) else {
            return Ok(None);
        };
        let ways = self.ways_into(target, &self.inventory())?;
        if ways.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_vec(&ways).expect("ways are made of strings and numbers");
        let Some(sealed) = agent.key.seal(&about_access(command, &order.agent, target), &text) else {
            tracing::error!(agent = order.agent, "nothing can be sealed to this agent's key");
            return Ok(None);
        };
        let names = ways.into_iter().map(|way| way.name).collect();
        self.store.used_credentials(names, target.clone(), clock::unix_seconds()).await?;
        Ok(Some(sealed))
    }

    /// The ways into one guest: of the credentials whose selector takes it.
    fn ways_into(&self, target: &Target, inventory: &Inventory) -> Result<Vec<Way>, StoreError> {
        let Some(guest) = inventory.guest_of(target) else { return Ok(Vec::new()) };
        let host_key = self.store.host_key(target)?;
        let host_key =
            host_key.filter(|(fingerprint, seal)| self.identity.sealed(&Row::HostKey { target, fingerprint }, seal));
        let host_key = host_key.map(|(fingerprint, _)| fingerprint);
        let mut ways = Vec::new();
        for record in self.store.credentials()? {
            if !takes(&record.selector, inventory).contains(target) {
                continue;
            }
            let Some(secret) = self.secret_of(&record) else {
                tracing::error!(credential = record.name, "it was sealed with another vault key: rotate it");
                continue;
            };
            let CredentialRecord { name, kind, user, address, port, jump, .. } = record;
            let known = guest.addresses.iter().chain([&guest.name]).find(|word| credential::is_word(word));
            let Some(address) = address.or_else(|| known.cloned()) else { continue };
            ways.push(Way { name, kind, user, address, port, jump, secret, host_key: host_key.clone() });
        }
        ways.truncate(MOST);
        Ok(ways)
    }

    fn with_secret(&self, record: CredentialRecord, secret: &Secret) -> CredentialRecord {
        let sealed = self.vault.seal(&about(&record), secret.reveal().as_bytes());
        CredentialRecord { sealed, ..record }
    }

    fn secret_of(&self, record: &CredentialRecord) -> Option<Secret> {
        let plain = self.vault.open(&about(record), &record.sealed)?;
        String::from_utf8(plain).ok().map(Secret::new)
    }

    fn row_of(&self, record: CredentialRecord, inventory: &Inventory) -> CredentialRow {
        let readable = self.secret_of(&record).is_some();
        let targets = takes(&record.selector, inventory);
        let CredentialRecord { name, kind, user, selector, address, port, jump, created, rotated, used, .. } = record;
        CredentialRow { name, kind, user, selector, address, port, jump, created, rotated, used, readable, targets }
    }
}

/// All that a secret is sealed about: who changes a row in the database so that it is for other guests, or leads to another
/// address, has a row that does not open.
fn about(record: &CredentialRecord) -> Vec<u8> {
    let CredentialRecord { name, kind, user, selector, address, port, jump, .. } = record;
    serde_json::to_vec(&("remotectl credential", name, kind, user, selector, address, port, jump))
        .expect("a credential is made of strings and numbers")
}

/// The virtual machines that a selector takes now.
fn takes(text: &str, inventory: &Inventory) -> Vec<Target> {
    // A name that is not there any more takes nothing.
    let targets = selector::select(text, inventory).unwrap_or_default();
    targets.into_iter().filter(is_machine).collect()
}

fn is_machine(target: &Target) -> bool {
    matches!(target.what, What::Guest(GuestKind::Vm, _))
}

/// Whether a node goes into the guest to do it.
fn reaches_in(work: &Work) -> bool {
    matches!(
        work,
        Work::Once { .. } | Work::Deploy { .. } | Work::Attest { .. } | Work::Perform { op: Op::AgentRemove {} }
    )
}

fn check(new: &NewCredential) -> Result<(), Failure> {
    let NewCredential { name, kind, user, selector, address, jump, secret, .. } = new;
    if !is_name(name) {
        return Err(Failure::usage(format!("`{name}` is no name for a credential")).help("letters, digits, - . _"));
    }
    let words = [Some(user), address.as_ref(), jump.as_ref()];
    if let Some(word) = words.into_iter().flatten().find(|word| !credential::is_word(word)) {
        return Err(
            Failure::usage(format!("`{word}` is no user, address or machine")).help("letters, digits, - . _ : %")
        );
    }
    Selection::parse(selector).map_err(Failure::from)?;
    check_secret(*kind, secret)
}

fn check_secret(kind: CredentialKind, secret: &Secret) -> Result<(), Failure> {
    let help = "remotectl credential add NAME --to SELECTOR --key FILE, or --password to be asked for it";
    if secret.reveal().len() > LONGEST {
        return Err(Failure::usage(format!("the secret is longer than {LONGEST} bytes")).help(help));
    }
    kind.check(secret).map_err(|why| Failure::usage(why).help(help))
}

fn unknown(name: &str) -> Failure {
    Failure::new(format!("there is no credential {name}")).help("`remotectl credential list` shows them")
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
