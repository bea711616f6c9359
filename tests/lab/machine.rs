//! Virtual machines of the lab: real ones under QEMU's software emulation. Their disks are made once, booted once and saved
//! as they are when they have come up; each run goes on from there, on an overlay, within a second or two.

use super::{
    container::listing,
    node::{Node, run},
    rootfs::{Base, once, succeed},
    run::cache,
    standin::{qga::GuestAgent, qmp},
};
use remotectl::model::digest::Digest;
use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian with systemd, on a disk.
    Systemd,
    /// One busybox in memory, with busybox' own init.
    Busybox,
}

/// A machine as it is defined at the start of every run.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its id.
    pub vmid: u32,
    /// The node that it is on.
    pub node: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it runs.
    pub kind: Kind,
    /// Whether it has a guest agent.
    pub agent: bool,
    /// As Proxmox writes tags.
    pub tags: &'static str,
}

/// All there are. None runs unless a test asks for it.
pub const DEFINED: &[Definition] = &[
    Definition { vmid: 201, name: "web-vm", node: "pve1", kind: Kind::Systemd, agent: true, tags: "lab;web" },
    Definition { vmid: 202, name: "small-vm", node: "pve1", kind: Kind::Busybox, agent: true, tags: "lab" },
    Definition { vmid: 203, name: "ssh-vm", node: "pve2", kind: Kind::Systemd, agent: false, tags: "lab" },
];

/// What each of them has, in MiB.
const MEMORY: u32 = 256;
/// Part of the cache's key: change it with anything below that changes the result.
const REVISION: &str = "2";
/// What a guest loads to see its devices, in this order.
const MODULES: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "failover",
    "net_failover",
    "virtio_net",
];
/// What a guest says on its serial line when it has come up.
const UP: &str = "lab-up";
/// How long a machine may take to boot, under emulation and beside others.
const BOOT: Duration = Duration::from_mins(5);
/// The start of both init programs: devices are there, and the address that the kernel was told.
const EARLY: &str = "#!/bin/busybox sh\n\
    /bin/busybox mount -t proc proc /proc; /bin/busybox mount -t sysfs sysfs /sys; /bin/busybox mount -t devtmpfs dev /dev\n";
const SWITCH: &str = "i=0\n\
    while [ ! -b /dev/vda ] && [ $i -lt 200 ]; do /bin/busybox usleep 50000; i=$((i+1)); done\n\
    /bin/busybox mount -t ext4 /dev/vda /root\n\
    for d in dev proc sys; do /bin/busybox mount --move /$d /root/$d; done\n\
    exec /bin/busybox switch_root /root /lib/systemd/systemd\n";
const ADDRESS: &str = "for w in $(cat /proc/cmdline); do case $w in lab.ip=*)\n\
    ip link set lo up; ip address add \"${w#lab.ip=}\" dev eth0; ip link set eth0 up;; esac; done\n";
const SMALL: &str = "cd /\n\
    /bin/busybox mount -t tmpfs -o mode=755,size=75% tmpfs /root\n\
    for d in bin sbin usr lib lib64 etc var opt; do /bin/busybox cp -a $d /root/; done\n\
    for d in proc sys dev run tmp root; do /bin/busybox mkdir /root/$d; done\n\
    for d in dev proc sys; do /bin/busybox mount --move /$d /root/$d; done\n\
    exec /bin/busybox switch_root /root /bin/busybox init\n";
const RC: &str = "#!/bin/busybox sh\n/bin/busybox --install -s\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
    mkdir -p /dev/shm /dev/pts /dev/virtio-ports\n\
    for p in /sys/class/virtio-ports/*; do ln -s \"/dev/${p##*/}\" \"/dev/virtio-ports/$(cat $p/name)\"; done\n\
    mount -t tmpfs -o mode=755 tmpfs /run; mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /dev/shm\n";
const INITTAB: &str = "::sysinit:/etc/rc\n::respawn:/usr/sbin/qemu-ga -t /run\n::ctrlaltdel:/bin/poweroff\n";
const MASKED: &[&str] = &[
    "systemd-networkd.service",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
    "systemd-random-seed.service",
    "systemd-binfmt.service",
    "systemd-modules-load.service",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "getty.target",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
];

impl Definition {
    /// The one with that id.
    pub fn of(vmid: u32) -> Option<Self> {
        DEFINED.iter().find(|defined| defined.vmid == vmid).copied()
    }

    /// Its address on vmbr0.
    pub fn address(&self) -> String {
        format!("10.66.{}.{}", &self.node[3..], self.vmid)
    }

    fn mac(&self) -> String {
        let [_, high, middle, low] = self.vmid.to_be_bytes();
        format!("BC:24:11:{high:02X}:{middle:02X}:{low:02X}")
    }

    /// Writes its configuration where Proxmox has it.
    pub fn write(&self, pve: &Path) -> io::Result<()> {
        let mut lines = if self.agent { vec!["agent: 1".to_owned()] } else { Vec::new() };
        lines.extend([
            "boot: order=virtio0;net0".to_owned(),
            "cores: 1".to_owned(),
            format!("memory: {MEMORY}"),
            format!("name: {}", self.name),
            format!("net0: virtio={},bridge=vmbr0", self.mac()),
            "ostype: l26".to_owned(),
            format!("smbios1: uuid=00000000-0000-4000-8000-000000000{}", self.vmid),
            format!("tags: {}", self.tags),
            format!("virtio0: lab:{}/disk.qcow2,size=900M", self.vmid),
            format!("vmgenid: 00000000-0000-4000-9000-000000000{}", self.vmid),
        ]);
        let path = pve.join("nodes").join(self.node).join("qemu-server").join(format!("{}.conf", self.vmid));
        fs::write(path, lines.join("\n") + "\n")
    }

    /// QEMU's arguments. The saved state fits only where the devices are the same.
    pub fn arguments(&self, assets: &Path, sockets: &Path, disk: &Path, network: &str) -> Vec<String> {
        let (id, at) = (self.vmid, |name: &str| assets.join(name).display().to_string());
        let socket = |name: &str| sockets.join(format!("{id}.{name}")).display().to_string();
        let initrd = if self.kind == Kind::Systemd { "initrd-systemd" } else { "initrd-busybox" };
        let kernel_line = format!("console=ttyS0 quiet net.ifnames=0 lab.ip={}/16", self.address());
        let fixed =
            "-machine pc -accel tcg,thread=multi,tb-size=64 -cpu max -smp 1 -display none -nodefaults -no-user-config";
        let mut words: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
        let mut add = |name: &str, value: String| words.extend([name.to_owned(), value]);
        add("-m", MEMORY.to_string());
        add("-kernel", at("vmlinuz"));
        add("-initrd", at(initrd));
        add("-append", kernel_line);
        add("-serial", format!("file:{}", socket("serial")));
        add("-qmp", format!("unix:{},server=on,wait=off", socket("qmp")));
        add("-netdev", format!("{network},id=net0"));
        add("-device", format!("virtio-net-pci,netdev=net0,mac={}", self.mac()));
        if self.agent {
            add("-chardev", format!("socket,id=qga0,path={},server=on,wait=off", socket("qga")));
            add("-device", "virtio-serial".to_owned());
            add("-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0".to_owned());
        }
        if self.kind == Kind::Systemd {
            add("-drive", format!("file={},if=virtio,format=qcow2", disk.display()));
        }
        words
    }
}

/// The assets' folder, by name below the cache's root file systems.
pub fn assets() -> String {
    let early = [EARLY, SWITCH, ADDRESS, SMALL, RC, INITTAB].concat();
    let recipe = format!("{REVISION} {} {MASKED:?} {MODULES:?} {early} {DEFINED:?}", Base::Node.recipe());
    let digest = Digest::of(recipe.as_bytes());
    format!("machine-{}", &digest.as_str()[..16])
}

/// Makes what machines are made of, and the saved states of these.
pub fn provide(vmids: &[u32]) -> io::Result<()> {
    let folder = cache().join("rootfs").join(assets());
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    once(&folder.join("common"), make_common)?;
    for vmid in vmids {
        let definition = Definition::of(*vmid).ok_or_else(|| io::Error::other(format!("no vm/{vmid}")))?;
        once(&folder.join(vmid.to_string()), |place| save(definition, &folder, place))?;
    }
    Ok(())
}

/// Kernel, initial file systems, disk, key.
fn make_common(place: &Path) -> io::Result<()> {
    eprintln!("lab: making the virtual machines' disk (once, a minute or two)");
    let (kernel, machine) = (Base::Kernel.provide(false)?, Base::Machine.provide(false)?);
    fs::create_dir(place)?;
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(place.join("key")))?;
    let image = fs::read_dir(kernel.join("boot"))?.flatten().map(|entry| entry.path());
    let image = image.into_iter().find(|path| path.to_string_lossy().contains("/vmlinuz-"));
    fs::copy(image.ok_or_else(|| io::Error::other("the package has no kernel"))?, place.join("vmlinuz"))?;
    let root = place.join("root");
    make_initrd(&kernel, &root, |init| fs::write(init, [EARLY, &insert(), SWITCH].concat()))?;
    pack(&root, &place.join("initrd-systemd"))?;
    make_initrd(&kernel, &root, |init| fs::write(init, [EARLY, &insert(), SMALL].concat()))?;
    add_small(&machine, &root)?;
    pack(&root, &place.join("initrd-busybox"))?;
    fs::remove_dir_all(&root)?;
    succeed(Command::new("cp").arg("--archive").arg(&machine).arg(&root))?;
    adapt(&root, &fs::read_to_string(place.join("key.pub"))?)?;
    let disk = place.join("disk.img");
    File::create(&disk)?.set_len(900 << 20)?;
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-O", "^has_journal", "-d"]).arg(&root).arg(&disk))?;
    fs::remove_dir_all(root)
}

fn insert() -> String {
    let lines: Vec<String> = MODULES.iter().map(|module| format!("/bin/busybox insmod /mods/{module}.ko\n")).collect();
    lines.concat()
}

fn make_initrd(kernel: &Path, root: &Path, init: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    for folder in
        ["bin", "sbin", "usr/bin", "usr/sbin", "etc", "mods", "proc", "sys", "dev", "run", "tmp", "root", "var", "opt"]
    {
        fs::create_dir_all(root.join(folder))?;
    }
    let busybox =
        ["usr/bin/busybox", "bin/busybox"].map(|path| kernel.join(path)).into_iter().find(|path| path.exists());
    fs::copy(busybox.ok_or_else(|| io::Error::other("there is no busybox"))?, root.join("bin/busybox"))?;
    for module in MODULES {
        let find =
            Command::new("find").arg(kernel.join("lib/modules")).args(["-name", &format!("{module}.ko")]).output()?;
        let path = String::from_utf8_lossy(&find.stdout).trim().to_owned();
        fs::copy(&path, root.join("mods").join(format!("{module}.ko")))?;
    }
    init(&root.join("init"))?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))
}

/// The guest agent with its libraries, and what busybox' init does.
fn add_small(machine: &Path, root: &Path) -> io::Result<()> {
    let needs = Command::new("chroot").arg(machine).args(["ldd", "/usr/sbin/qemu-ga"]).output()?;
    let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
    let libraries = needs.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain(["/usr/sbin/qemu-ga"]) {
        let to = root.join(&path[1..]);
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        fs::copy(machine.join(&path[1..]).canonicalize()?, to)?;
    }
    fs::write(root.join("etc/inittab"), INITTAB)?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    fs::write(root.join("etc/rc"), format!("{RC}{ADDRESS}echo {UP} >/dev/ttyS0\n"))?;
    fs::set_permissions(root.join("etc/rc"), fs::Permissions::from_mode(0o755))
}

fn pack(root: &Path, to: &Path) -> io::Result<()> {
    let script = "cd / && /bin/busybox find . | /bin/busybox cpio -o -H newc";
    let output =
        Command::new("chroot").arg(root).args(["/bin/busybox", "sh", "-c", script]).stdin(Stdio::null()).output()?;
    if output.stdout.is_empty() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    fs::write(to, output.stdout)
}

/// The disk's Debian: its address from the kernel's command line, a log-in by key for root and for one who may become it.
fn adapt(root: &Path, public: &str) -> io::Result<()> {
    let units = root.join("etc/systemd/system");
    MASKED.iter().try_for_each(|unit| super::rootfs::mask(root, unit))?;
    let address = ADDRESS.replace('\n', " ").replace('$', "$$");
    let wants = |target: &str, unit: &str, text: String| -> io::Result<()> {
        fs::write(units.join(unit), text)?;
        let folder = units.join(format!("{target}.wants"));
        fs::create_dir_all(&folder)?;
        symlink(format!("../{unit}"), folder.join(unit))
    };
    wants(
        "basic.target",
        "lab-net.service",
        format!(
            "[Unit]\nDefaultDependencies=no\nAfter=systemd-udevd.service\nBefore=basic.target\n\
             [Service]\nType=oneshot\nExecStart=/bin/sh -c '{address}'\n"
        ),
    )?;
    wants(
        "multi-user.target",
        "lab-up.service",
        format!("[Service]\nType=idle\nExecStart=/bin/sh -c 'echo {UP} >/dev/ttyS0'\n"),
    )?;
    fs::write(root.join("etc/hostname"), "machine\n")?;
    run(Command::new("chroot").arg(root).args(["useradd", "--create-home", "--shell", "/bin/sh", "admin"]))?;
    fs::write(root.join("etc/sudoers.d/admin"), "admin ALL=(ALL) NOPASSWD: ALL\n")?;
    for home in ["root", "home/admin"] {
        let ssh = root.join(home).join(".ssh");
        fs::create_dir_all(&ssh)?;
        fs::write(ssh.join("authorized_keys"), public)?;
    }
    run(Command::new("chroot").arg(root).args(["chown", "-R", "admin:admin", "/home/admin"]))
}

/// Boots a machine, waits until it has come up, and keeps it as it is then.
fn save(definition: Definition, folder: &Path, place: &Path) -> io::Result<()> {
    eprintln!("lab: booting vm/{} and saving it (once, half a minute)", definition.vmid);
    fs::create_dir(place)?;
    let node = Base::Node.provide(false)?;
    let name = place.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let inside = Path::new("/mnt").join(name);
    let within = |words: &[String]| {
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$1\" \"$2/mnt\" && mount --bind /dev \"$2/dev\" && r=$2 && shift 2 && exec chroot \"$r\" \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(folder).arg(&node);
        command.args(words).stdin(Stdio::null());
        command
    };
    let disk = inside.join("disk.qcow2").display().to_string();
    let create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "../common/disk.img", "-F", "raw", &disk];
    run(&mut within(&create.map(str::to_owned)))?;
    let mut words = vec!["qemu-system-x86_64".to_owned()];
    words.extend(definition.arguments(Path::new("/mnt/common"), &inside, Path::new(&disk), "hubport,hubid=0"));
    let mut qemu = within(&words).stderr(File::create(place.join("qemu.log"))?).spawn()?;
    let saved = come_up(definition, place).and_then(|()| {
        let mut monitor = qmp::connect(&place.join(format!("{}.qmp", definition.vmid)))?;
        monitor.save(&inside.join("state"))
    });
    qemu.kill()?;
    qemu.wait()?;
    for name in ["qga", "qmp", "serial"] {
        fs::remove_file(place.join(format!("{}.{name}", definition.vmid))).ok();
    }
    saved
}

fn come_up(definition: Definition, place: &Path) -> io::Result<()> {
    let deadline = Instant::now() + BOOT;
    let serial = place.join(format!("{}.serial", definition.vmid));
    let up = || fs::read_to_string(&serial).is_ok_and(|text| text.contains(UP));
    let answers = || {
        let socket = place.join(format!("{}.qga", definition.vmid));
        !definition.agent || GuestAgent::connect(&socket, Duration::from_secs(2)).is_ok()
    };
    while !(up() && answers()) {
        if Instant::now() > deadline {
            let log = fs::read_to_string(place.join("qemu.log")).unwrap_or_default();
            let said = fs::read_to_string(&serial).unwrap_or_default();
            return Err(io::Error::other(format!("vm/{} does not come up: {log}{said}", definition.vmid)));
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// A machine, as tests use it.
pub struct Machine<'a> {
    /// The node that it is on.
    pub node: &'a Node,
    /// How it is defined.
    pub definition: Definition,
}

impl Machine<'_> {
    /// Starts it.
    pub fn start(&self) -> io::Result<()> {
        run(self.node.command("qm").args(["start", &self.definition.vmid.to_string()]))
    }

    /// Its guest agent, past Proxmox.
    pub fn guest_agent(&self) -> io::Result<GuestAgent> {
        let socket = format!("/proc/{}/root/run/qemu-server/{}.qga", self.node.pid(), self.definition.vmid);
        GuestAgent::connect(Path::new(&socket), Duration::from_secs(20))
    }

    /// Runs a command in it and gives back exit code and output, through its guest agent or by logging in.
    pub fn exec(&self, argv: &[&str]) -> (Option<i32>, String) {
        if !self.definition.agent {
            let mut ssh = self.node.command("ssh");
            ssh.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
            ssh.args(["-i", &format!("/mnt/rootfs/{}/common/key", assets())])
                .arg(format!("root@{}", self.definition.address()))
                .arg(quoted(argv));
            let output = ssh.output().expect("nsenter can be run");
            return (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let mut agent = self.guest_agent().expect("the guest agent answers");
        let ended = agent.run(argv, Duration::from_mins(2)).expect("the guest agent runs programs");
        (ended.code, String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// Its standard output, if it succeeded.
    pub fn text(&self, argv: &[&str]) -> Option<String> {
        let (code, text) = self.exec(argv);
        (code == Some(0)).then(|| text.trim_end().to_owned())
    }

    /// Every path in it, sorted: see `container::listing`.
    pub fn files(&self) -> Vec<String> {
        let text = match self.definition.kind {
            Kind::Busybox => self.text(&["sh", "-c", super::container::BUSYBOX_LISTING]),
            Kind::Systemd => self.text(&listing()),
        };
        let text = text.expect("find works");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

fn quoted(argv: &[&str]) -> String {
    let words: Vec<String> = argv.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    words.join(" ")
}
