//! Root file systems for the containers: made once by mmdebstrap, kept in the cache under the hash of their recipe, and
//! never written to again; containers are overlays on them.

use super::run::cache;
use remotectl::model::digest::Digest;
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where unprivileged containers' users begin, as Proxmox has it.
pub const FIRST_ID: u32 = 100_000;

/// How a root file system is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// Debian with systemd and nginx.
    Systemd,
    /// Debian with OpenRC and nginx.
    OpenRc,
    /// Debian with System V init and nginx.
    Sysvinit,
    /// Debian with runit as process 1, and nginx.
    Runit,
    /// What a node is: Debian with systemd, LXC and an SSH server.
    Node,
    /// One static busybox and nothing else, with busybox' own init.
    Busybox,
    /// What virtual machines' disks are made of: Debian with systemd, nginx, a guest agent and an SSH server.
    Machine,
    /// A kernel with its modules and a static busybox, unpacked only.
    Kernel,
}

/// Part of the cache's key: change it with anything below that changes the result.
const REVISION: &str = "2";
const SUITE: &str = "bookworm";
const OPTIONS: &[&str] = &[
    "--quiet",
    "--variant=minbase",
    "--aptopt=Acquire::Languages \"none\"",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

impl Base {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Systemd, Self::OpenRc, Self::Sysvinit, Self::Runit, Self::Node, Self::Busybox];

    /// Its name in a container's `rootfs` line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "openrc",
            Self::Sysvinit => "sysvinit",
            Self::Runit => "runit",
            Self::Node => "node",
            Self::Busybox => "busybox",
            Self::Machine => "machine",
            Self::Kernel => "kernel",
        }
    }

    fn packages(self) -> &'static str {
        match self {
            Self::Systemd => "systemd,systemd-sysv,dbus,iproute2,procps,nginx-light",
            Self::OpenRc => "openrc,sysvinit-core,iproute2,procps,ifupdown,nginx-light",
            Self::Sysvinit => "sysvinit-core,sysv-rc,initscripts,iproute2,procps,ifupdown,nginx-light",
            Self::Runit => "runit-init,runit,initscripts,iproute2,procps,ifupdown,nginx-light",
            Self::Node => {
                "systemd,systemd-sysv,dbus,iproute2,procps,lxc,uidmap,openssh-server,openssh-client,qemu-system-x86,qemu-utils,seabios,ipxe-qemu"
            }
            Self::Busybox => "busybox-static",
            Self::Machine => {
                "systemd,systemd-sysv,dbus,udev,kmod,iproute2,procps,qemu-guest-agent,openssh-server,sudo,nginx-light"
            }
            Self::Kernel => "busybox-static,linux-image-cloud-amd64",
        }
    }

    /// The folder with the file system; made first if it isn't there. `shifted` is the one for unprivileged containers.
    pub fn provide(self, shifted: bool) -> io::Result<PathBuf> {
        let digest = Digest::of(self.recipe().as_bytes());
        let key = &digest.as_str()[..16];
        let folder = cache().join("rootfs").join(format!("{}-{key}", self.name()));
        fs::create_dir_all(&folder)?;
        let lock = fs::File::create(folder.join("lock"))?;
        lock.lock()?;
        let plain = folder.join("plain");
        once(&plain, |place| self.make(place))?;
        if !shifted {
            return Ok(plain);
        }
        let target = folder.join("shifted");
        once(&target, |place| {
            succeed(Command::new("cp").arg("--archive").arg(&plain).arg(place))?;
            shift(place)
        })?;
        Ok(target)
    }

    /// What it is made by; part of what is made of it.
    pub fn recipe(self) -> String {
        let adapted = match self {
            Self::Node => OF_THE_MACHINE.join(" "),
            Self::Busybox => format!("{UNPACKED_ONLY:?}{INITTAB}"),
            Self::Systemd | Self::OpenRc | Self::Sysvinit | Self::Runit | Self::Machine | Self::Kernel => String::new(),
        };
        format!("{REVISION} {SUITE} {} {}{adapted}", self.packages(), OPTIONS.join(" "))
    }

    fn make(self, place: &Path) -> io::Result<()> {
        eprintln!("lab: making the {} root file system (once, about half a minute)", self.name());
        let unpacked = matches!(self, Self::Busybox | Self::Kernel);
        let variant: &[&str] = if unpacked { UNPACKED_ONLY } else { &[] };
        succeed(
            Command::new("mmdebstrap")
                .args(OPTIONS)
                .args(variant)
                .arg(format!("--include={}", self.packages()))
                .arg(SUITE)
                .arg(place),
        )?;
        match self {
            Self::Busybox => return reduce_to_busybox(place),
            Self::Kernel => return Ok(()),
            _ => {}
        }
        let devices = place.join("dev");
        fs::remove_dir_all(&devices)?;
        fs::create_dir(&devices)?;
        match self {
            Self::Systemd | Self::Machine => adapt_systemd(place),
            Self::OpenRc | Self::Sysvinit => adapt_inittab(place),
            Self::Node => adapt_node(place),
            Self::Runit | Self::Busybox | Self::Kernel => Ok(()),
        }
    }
}

/// Unpacks, and configures nothing. The last variant that is given counts.
const UNPACKED_ONLY: &[&str] = &["--variant=extract"];
/// `/run` lives in memory, and what is in it says that the system is up.
const INITTAB: &str = "::sysinit:/bin/mount -t tmpfs -o mode=755 tmpfs /run\n::sysinit:/bin/touch /run/up\n\
                       ::ctrlaltdel:/bin/poweroff\n::shutdown:/bin/umount -a -r\n";

/// Keeps the one program, and gives it all its names.
fn reduce_to_busybox(root: &Path) -> io::Result<()> {
    let found = ["usr/bin/busybox", "bin/busybox"].map(|path| root.join(path)).into_iter().find(|path| path.exists());
    let program = fs::read(found.ok_or_else(|| io::Error::other("the package has no busybox"))?)?;
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_symlink() || !path.is_dir() { fs::remove_file(path)? } else { fs::remove_dir_all(path)? }
    }
    for folder in ["bin", "sbin", "usr/bin", "usr/sbin", "etc", "dev", "proc", "sys", "run", "root", "tmp", "var/log"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let busybox = root.join("bin/busybox");
    fs::write(&busybox, program)?;
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755))?;
    succeed(Command::new("chroot").arg(root).args(["/bin/busybox", "--install", "-s"]))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    fs::write(root.join("etc/inittab"), INITTAB)
}

/// What makes no sense in a container, or moves files about while a test compares them.
const MASKED: &[&str] = &[
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "console-getty.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "systemd-tmpfiles-clean.timer",
];

/// What a node must leave to the machine that the lab runs on, or to the lab.
const OF_THE_MACHINE: &[&str] = &[
    "lxc-net.service",
    "lxc.service",
    "lxc-monitord.service",
    "ssh.service",
    "systemd-binfmt.service",
    "systemd-modules-load.service",
    "systemd-networkd.service",
    "systemd-random-seed.service",
    "systemd-sysctl.service",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
];

fn adapt_systemd(root: &Path) -> io::Result<()> {
    MASKED.iter().try_for_each(|unit| mask(root, unit))
}

/// A node's own services stay away from the network that the lab makes, and its users may have Proxmox's range of ids.
fn adapt_node(root: &Path) -> io::Result<()> {
    adapt_systemd(root)?;
    OF_THE_MACHINE.iter().try_for_each(|unit| mask(root, unit))?;
    for list in ["etc/subuid", "etc/subgid"] {
        fs::write(root.join(list), format!("root:{FIRST_ID}:65536\n"))?;
    }
    let unit = root.join("etc/systemd/system/lab-ssh.service");
    fs::write(unit, "[Service]\nRuntimeDirectory=sshd\nExecStart=/usr/sbin/sshd -D -f /etc/pve/priv/sshd_config\n")?;
    let wanted = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wanted)?;
    symlink("../lab-ssh.service", wanted.join("lab-ssh.service"))
}

/// Has a unit do nothing.
pub fn mask(root: &Path, unit: &str) -> io::Result<()> {
    let link = root.join("etc/systemd/system").join(unit);
    let _ = fs::remove_file(&link);
    symlink("/dev/null", link)
}

/// sysvinit does not know the signal that asks a container to go down.
fn adapt_inittab(root: &Path) -> io::Result<()> {
    let inittab = root.join("etc/inittab");
    let text = fs::read_to_string(&inittab)?;
    let kept = text.lines().filter(|line| !line.contains("getty") && !line.starts_with("pf::"));
    let lines: Vec<&str> = kept.chain(["pf::powerwait:/sbin/shutdown -h now"]).collect();
    fs::write(inittab, lines.join("\n") + "\n")
}

/// Makes a folder under another name first, so that a half-made one is never taken for whole.
pub fn once(place: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if place.exists() {
        return Ok(());
    }
    let unfinished = place.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    make(&unfinished)?;
    fs::rename(unfinished, place)
}

/// Runs a command that has to succeed.
pub fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr))))
}

/// Gives every file to the users of unprivileged containers. A change of owner clears set-uid, so the mode comes after.
fn shift(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    lchown(path, Some(metadata.uid() + FIRST_ID), Some(metadata.gid() + FIRST_ID))?;
    if !metadata.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            shift(&entry?.path())?;
        }
    }
    Ok(())
}
