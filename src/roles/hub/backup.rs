//! `hub backup` and `hub restore`: one file with everything that makes a hub this hub, and the way back from it. A hub that
//! was restored is in a new epoch, and its agents follow it there by the recovery key alone: a copy of the hub is not enough.

use super::{
    HubOptions, Settings,
    data::{ANNOUNCEMENT, DATABASE, Data, IDENTITY, RECOVERY, RECOVERY_PUBLIC},
};
use crate::{
    link::{
        announcement::Announcement,
        keys::{PublicKey, SigningKey},
    },
    model::{Failure, digest::Digest},
    store::{self, Left},
    sys::{clock, files, random, secret::Secret, tls::fingerprint},
};
use std::{
    io::Read as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

/// What of a data directory is not in a backup and stays where a hub is restored in its place.
const STAYS: [&str; 3] = ["artifacts", "output", RECOVERY];

/// `hub backup FILE`: of a running hub too.
pub fn backup(options: &HubOptions, file: &Path) -> Result<(), Failure> {
    let settings = Settings::load(options)?;
    let failed = |error: &dyn std::error::Error| Failure::of(&format!("making the backup {}", file.display()), error);
    if !Data::exists(&settings.data) {
        return Err(Failure::new(format!("there is no hub in {}", settings.data.display())).help("--data DIRECTORY"));
    }
    if file.exists() {
        return Err(Failure::new(format!("there is a {} already", file.display())).help("name another file"));
    }
    let identity = sealed(&settings.data)?;
    // In a directory of ours, whoever else may write where the backup goes.
    let private = beside(file, &random::name(12));
    files::create_private_directory(&private).map_err(|error| failed(&error))?;
    let making = private.join(DATABASE);
    let size = store::copy(&settings.data.join(DATABASE), &making)
        .and_then(|()| store::pack(&making, &identity))
        .and_then(|()| store::inspect(&making))
        .map_err(|error| failed(&error));
    let made = size.and_then(|size| {
        files::rename_new(&making, file)
            .and_then(|()| files::sync_directory_of(file))
            .map_err(|error| failed(&error))?;
        Ok(size)
    });
    // What is left of it is of no use to anybody; the error that matters is the first.
    drop(files::remove_tree(&private));
    let size = made?;
    println!("{}, {} KiB, whole: database, authority and keys of the hub", file.display(), size >> 10);
    eprintln!(
        "note: the hub's keys in it open with the recovery key alone: keep that one elsewhere; the rest of it, plans and what \
         came of them, can be read"
    );
    eprintln!("note: not in it are the recovery key, hub.toml, the output of commands and the executables for agents");
    Ok(())
}

/// The files that make the hub this hub, sealed to its recovery key: without it a copy is nobody. That key's public half
/// and the authority's certificate are no secrets, and stay as they are.
fn sealed(data: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of("reading the hub's keys", error);
    let public = files::read_text(&data.join(RECOVERY_PUBLIC)).map_err(|error| failed(&error))?;
    let public = PublicKey::try_from(public.trim().to_owned()).map_err(Failure::new)?;
    let one = |name: &'static str, mode: u32| {
        let plain = files::read(&data.join(name)).map_err(|error| failed(&error))?;
        if mode != 0o600 {
            return Ok((name, plain));
        }
        let sealed = public.seal(&about(name), &plain);
        let sealed = sealed.ok_or_else(|| Failure::new("nothing can be sealed to the hub's recovery key"))?;
        Ok((name, serde_json::to_vec(&sealed).map_err(|error| failed(&error))?))
    };
    IDENTITY.iter().map(|(name, mode)| one(name, *mode)).collect()
}

/// What a file of a backup is sealed about.
fn about(name: &str) -> Vec<u8> {
    format!("remotectl backup {name}").into_bytes()
}

/// `hub restore FILE`: the hub in it takes the place of the one that is there, which is kept beside.
pub fn restore(options: &HubOptions, file: &Path, recovery: Option<&str>) -> Result<(), Failure> {
    let settings = Settings::load(options)?;
    if UnixStream::connect(&settings.socket).is_ok() {
        return Err(Failure::new("the hub that is to be replaced is running").help("systemctl stop remotectl-hub"));
    }
    let data = &settings.data;
    let failed = |error: &dyn std::error::Error| Failure::of(&format!("restoring {}", file.display()), error);
    let aside = beside(data, "restoring");
    files::remove_tree(&aside).map_err(|error| failed(&error))?;
    let restored = build(file, &aside, recovery, data);
    let Restored { hub, epoch, left } = restored.inspect_err(|_| {
        // What is half done is of no use; the error that matters is the first.
        drop(files::remove_tree(&aside));
    })?;
    let former = data.exists().then(|| beside(data, &format!("before-{epoch}")));
    if let Some(former) = &former {
        files::rename(data, former).map_err(|error| failed(&error))?;
    }
    files::rename(&aside, data).map_err(|error| failed(&error))?;
    for (name, former) in STAYS.iter().zip(std::iter::repeat(&former)).filter_map(|(n, f)| Some((n, f.as_ref()?))) {
        if former.join(name).exists() {
            files::rename(&former.join(name), &data.join(name)).map_err(|error| failed(&error))?;
        }
    }
    for name in ["output", "artifacts"] {
        files::create_directory(&data.join(name), 0o700).map_err(|error| failed(&error))?;
    }
    files::sync_directory_of(data).map_err(|error| failed(&error))?;
    println!("hub {hub} is restored in {}, in epoch {epoch}", data.display());
    tell(&left, former.as_deref());
    Ok(())
}

struct Restored {
    hub: String,
    epoch: u64,
    left: Left,
}

/// Makes the whole hub in a directory beside the one that it is for.
fn build(file: &Path, aside: &Path, recovery: Option<&str>, data: &Path) -> Result<Restored, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::of(&format!("restoring {}", file.display()), error).help("a file that `remotectl hub backup` has made")
    };
    // SQLite would make what is not there.
    files::mode(file).map_err(|error| failed(&error))?;
    files::create_directory(aside, 0o700).map_err(|error| failed(&error))?;
    let database = aside.join(DATABASE);
    store::copy(file, &database).map_err(|error| failed(&error))?;
    let identity = store::unpack(&database).map_err(|error| failed(&error))?;
    // The names are ours: nothing in a file becomes a path.
    let content = |name: &str| {
        let found = identity.iter().find(|(known, _)| known == name).map(|(_, content)| content.as_slice());
        found.ok_or_else(|| Failure::new(format!("{} has no {name}", file.display())).help("another backup"))
    };
    let text = |name| content(name).map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let public = PublicKey::try_from(text(RECOVERY_PUBLIC)?).map_err(Failure::new)?;
    let recovery = recovery_key(recovery, &data.join(RECOVERY), public)?;
    for (name, mode) in IDENTITY {
        let mut plain = content(name)?.to_vec();
        if mode == 0o600 {
            let opened = serde_json::from_slice(&plain).ok().and_then(|sealed| recovery.open(&about(name), &sealed));
            plain = opened.ok_or_else(|| Failure::new(format!("{name} in {} does not open", file.display())))?;
        }
        files::write_atomic(&aside.join(name), &plain, mode).map_err(|error| failed(&error))?;
    }
    let now = clock::unix_seconds();
    let epoch = epoch_after(&[&database, &data.join(DATABASE)], now);
    let left = store::begin_epoch(&database, epoch, now).map_err(|error| failed(&error))?;
    let key = SigningKey::load(&aside.join("command.key")).map_err(|error| failed(&error))?;
    let announcement =
        Announcement { hub: text("hub.id")?, epoch, key: key.public(), fingerprint: authority(&text("ca.pem")?)? };
    let signed = serde_json::to_vec(&announcement.sign(&recovery)).map_err(|error| failed(&error))?;
    files::write_atomic(&aside.join(ANNOUNCEMENT), &signed, 0o644).map_err(|error| failed(&error))?;
    Ok(Restored { hub: announcement.hub, epoch, left })
}

fn authority(pem: &str) -> Result<Digest, Failure> {
    fingerprint(pem).map_err(|error| Failure::of("reading the hub's CA", &error))
}

/// An epoch that no agent has seen: the second of now, or one more than any that is on record where the clock was ahead then.
fn epoch_after(databases: &[&Path], now: i64) -> u64 {
    // One that does not read any more is what is to be replaced.
    let known = databases.iter().filter_map(|path| store::epoch_of(path).ok()).max().unwrap_or(1);
    u64::try_from(now).unwrap_or(1).max(known + 1)
}

/// The recovery key: from a file, from standard input for `-`, or from where the hub has left it.
fn recovery_key(typed: Option<&str>, usual: &Path, public: PublicKey) -> Result<SigningKey, Failure> {
    let help = "--recovery-key FILE with what `hub init` has printed, or `-` to read it from standard input";
    let failed = |error: &dyn std::error::Error| Failure::of("reading the recovery key", error).help(help);
    let text = match typed {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().take(4096).read_to_string(&mut text).map_err(|error| failed(&error))?;
            Secret::new(text)
        }
        Some(path) => Secret::new(files::read_text(Path::new(path)).map_err(|error| failed(&error))?),
        None => match files::read_text_if_there(usual).map_err(|error| failed(&error))? {
            Some(text) => Secret::new(text),
            None => {
                return Err(Failure::new("agents follow a hub into a new epoch by its recovery key alone").help(help));
            }
        },
    };
    let key = SigningKey::parse(text.reveal()).ok_or_else(|| Failure::new("that is no recovery key").help(help))?;
    if key.public() == public {
        return Ok(key);
    }
    Err(Failure::new("that is the recovery key of another hub: agents would not follow it").help(help))
}

/// What an operator has to know who has put a copy back.
fn tell(left: &Left, former: Option<&Path>) {
    let since = clock::rfc3339(left.newest);
    let Left { commands, running, proposed, .. } = left;
    if *running > 0 {
        println!("{running} plans were under way then, {commands} commands of them: their ends are unknown now");
        eprintln!(
            "help: `remotectl history`, and `remotectl settle ID done|failed --reason TEXT` once you have looked"
        );
    }
    if *proposed > 0 {
        println!("{proposed} plans were proposed then, and are void: they may have been carried out since");
    }
    if let Some(former) = former {
        println!("what was there before is kept in {}", former.display());
    }
    eprintln!(
        "note: what was done after {since} is not on record here: no plan, no operator and no agent of after that"
    );
    eprintln!("note: agents and operators that were locked, evicted or removed after that are known again");
    eprintln!("help: `remotectl hub check`, then `remotectl hub serve` or `systemctl start remotectl-hub`");
}

/// A path beside another, with a word at its end.
fn beside(path: &Path, word: &str) -> PathBuf {
    // Without a slash at its end, behind which it would be inside.
    let mut name = path.components().collect::<PathBuf>().into_os_string();
    name.push(format!(".{word}"));
    name.into()
}
