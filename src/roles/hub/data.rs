//! The hub's data directory: CA, the key that signs commands, database. Keys are files of their own (0600), so that a copy
//! of the database alone gives nobody power over agents.

use crate::{
    link::{
        envelope::Signed,
        keys::{PublicKey, SigningKey},
    },
    model::{Failure, digest::Digest},
    store::{Store, StoreError},
    sys::{
        aead::AeadKey,
        env,
        files::{self, FileError},
        secret::Secret,
        tls::Authority,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The files that make a hub this hub, its database aside, each with its mode.
pub const IDENTITY: [(&str, u32); 6] = [
    ("ca.key", 0o600),
    ("command.key", 0o600),
    ("vault.key", 0o600),
    ("hub.id", 0o644),
    (RECOVERY_PUBLIC, 0o644),
    ("ca.pem", 0o644),
];
/// The database.
pub const DATABASE: &str = "hub.db";
/// What the hub has to say of itself, signed by the recovery key.
pub const ANNOUNCEMENT: &str = "announcement.json";
/// What the recovery key is known by.
pub const RECOVERY_PUBLIC: &str = "recovery.pub";
/// Where the recovery key is until somebody takes it away, of a hub that was not made by hand.
pub const RECOVERY: &str = "recovery.key";

/// What a data directory holds.
pub struct Data {
    /// Where it is.
    pub directory: PathBuf,
    /// The hub's id.
    pub hub: String,
    /// Rises with each restore.
    pub epoch: u64,
    /// Its CA.
    pub authority: Authority,
    /// The key that signs commands.
    pub key: Arc<SigningKey>,
    /// The public half of the recovery key.
    pub recovery: Option<PublicKey>,
    /// What leads agents of an epoch before to this one.
    pub announcement: Option<Signed>,
    /// The key that seals credentials.
    pub vault: AeadKey,
    /// The database.
    pub store: Store,
}

/// The name in the CA's certificate.
pub fn authority_name(hub: &str) -> String {
    format!("remotectl hub {hub}")
}

impl Data {
    /// Whether there is a hub in that directory.
    pub fn exists(directory: &Path) -> bool {
        directory.join("ca.pem").exists()
    }

    /// Makes a new hub, and gives its recovery key. What it makes it makes beside, so that an interruption leaves no half hub.
    pub fn make(directory: &Path) -> Result<(Self, String), Failure> {
        let doing = format!("making a hub in {}", directory.display());
        let failed = |error: &dyn std::error::Error| {
            Failure::of(&doing, error).help("--data DIRECTORY that this user may write, or run it as root")
        };
        files::create_directory(directory, 0o700).map_err(|error| failed(&error))?;
        let hub = format!("h{}", crate::sys::random::name(12).to_ascii_lowercase());
        let authority = Authority::make(&authority_name(&hub)).map_err(|error| failed(&error))?;
        let (public, recovery) = SigningKey::make();
        let write = |name: &str, text: &[u8], mode| files::write_atomic(&directory.join(name), text, mode);
        write("ca.key", authority.key.reveal().as_bytes(), 0o600).map_err(|error| failed(&error))?;
        write("hub.id", hub.as_bytes(), 0o644).map_err(|error| failed(&error))?;
        write(RECOVERY_PUBLIC, String::from(public.public()).as_bytes(), 0o644).map_err(|error| failed(&error))?;
        SigningKey::load_or_make(&directory.join("command.key")).map_err(|error| failed(&error))?;
        for name in ["output", "artifacts"] {
            files::create_directory(&directory.join(name), 0o700).map_err(|error| failed(&error))?;
        }
        // The certificate comes last: it is what says that there is a hub.
        write("ca.pem", authority.certificate.as_bytes(), 0o644).map_err(|error| failed(&error))?;
        Ok((Self::open(directory)?, BASE64.encode(recovery)))
    }

    /// Opens a hub's data.
    pub fn open(directory: &Path) -> Result<Self, Failure> {
        let read = |name: &str| files::read_text(&directory.join(name)).map_err(|error| unreadable(directory, &error));
        let authority = Authority { certificate: read("ca.pem")?, key: Secret::new(read("ca.key")?) };
        let hub = read("hub.id")?;
        let key = SigningKey::load(&directory.join("command.key"))
            .map_err(|error| Failure::of("reading the hub's key", &error))?;
        let store = Store::open(&directory.join(DATABASE)).map_err(|error| not_opened(&error))?;
        let sealed = store.credentials().map_err(|error| not_opened(&error))?;
        let vault = directory.join("vault.key");
        if !sealed.is_empty() && !vault.exists() {
            let failure =
                Failure::new(format!("{} is gone, and {} credentials with it", vault.display(), sealed.len()));
            return Err(failure.help("put it back: no other key opens what it has sealed"));
        }
        let vault = AeadKey::load_or_make(&vault)
            .map_err(|error| Failure::of("reading the vault's key", &error).help("restore it from a backup"))?;
        let epoch = store.meta("epoch").map_err(|error| not_opened(&error))?;
        let epoch = epoch.and_then(|text| text.parse().ok()).unwrap_or(1);
        let recovery = PublicKey::try_from(read(RECOVERY_PUBLIC)?.trim().to_owned()).ok();
        let announcement = announced(directory)?;
        let directory = directory.to_owned();
        Ok(Self { directory, hub, epoch, authority, key: Arc::new(key), recovery, announcement, vault, store })
    }

    /// SHA-256 of the CA's certificate.
    pub fn fingerprint(&self) -> Result<Digest, Failure> {
        self.authority.fingerprint().map_err(|error| Failure::of("reading the hub's CA", &error))
    }
}

fn announced(directory: &Path) -> Result<Option<Signed>, Failure> {
    let path = directory.join(ANNOUNCEMENT);
    let text = files::read_text_if_there(&path).map_err(|error| unreadable(directory, &error))?;
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| Failure::of(&format!("reading {}", path.display()), &error))
}

fn unreadable(directory: &Path, error: &FileError) -> Failure {
    let failure = Failure::of("opening the hub's data", error);
    if env::is_root() {
        failure.help(format!(
            "restore {} from a backup, or begin anew: remotectl hub init --data DIRECTORY",
            directory.display()
        ))
    } else {
        failure.help("it may belong to root: sudo remotectl hub …")
    }
}

fn not_opened(error: &StoreError) -> Failure {
    let failure = Failure::of("opening the hub's database", error);
    match error {
        StoreError::Newer { .. } => failure.help("use the remotectl that made it, or a newer one"),
        StoreError::Damaged { .. } => failure.help("put the last backup back: remotectl hub restore FILE"),
        _ => failure.help("is the directory writable, and the disk not full?"),
    }
}
