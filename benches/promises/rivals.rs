//! What others do the same work with: ssh over a kept connection, Ansible ad hoc, Salt over ssh. All of them reach one
//! sshd on loopback, under as many names as there are machines.

use crate::{succeeds, wait_until};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// An sshd on loopback and a connection to it that is kept.
pub struct Ssh {
    place: PathBuf,
    port: u16,
    daemon: Child,
}

impl Ssh {
    pub fn start(place: &Path) -> Result<Self, String> {
        let sshd = Path::new("/usr/sbin/sshd");
        if !sshd.exists() {
            return Err("there is no /usr/sbin/sshd (Debian: openssh-server)".to_owned());
        }
        for key in ["host", "user"] {
            let key = place.join(key);
            succeeds(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key));
        }
        fs::copy(place.join("user.pub"), place.join("authorized")).unwrap();
        fs::create_dir_all("/run/sshd").map_err(|error| format!("/run/sshd: {error}"))?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\n\
             UsePAM no\nPidFile none\nPermitRootLogin yes\nMaxSessions 300\nMaxStartups 300\nSubsystem sftp internal-sftp\n",
            place.display()
        );
        fs::write(place.join("sshd.conf"), config).unwrap();
        // With an empty home, so that no shell start-up file of this machine's owner is measured along.
        let script = "mount -t tmpfs none \"$HOME\" && exec /usr/sbin/sshd -D -e -f \"$1\"";
        let mut daemon = Command::new("unshare");
        daemon.args(["--mount", "sh", "-c", script, "sshd"]).arg(place.join("sshd.conf")).stderr(Stdio::null());
        let ssh = Self { place: place.to_owned(), port, daemon: daemon.spawn().map_err(|error| error.to_string())? };
        wait_until("sshd answers", || {
            let mut first = ssh.command();
            succeeds(first.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=600", "localhost", "true"]))
        });
        Ok(ssh)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        let control = format!("ControlPath={}/control", self.place.display());
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", &control]);
        command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "HostName=127.0.0.1"]);
        command.arg("-i").arg(self.place.join("user")).arg("-p").arg(self.port.to_string()).stdin(Stdio::null());
        command
    }

    pub fn run(&self) {
        assert!(succeeds(self.command().args(["localhost", "/bin/true"])));
    }

    /// So many at the same time, over the one kept connection.
    pub fn run_all(&self, count: usize) {
        let start = |_| self.command().args(["localhost", "/bin/true"]).spawn().unwrap();
        let running: Vec<Child> = (0..count).map(start).collect();
        for mut child in running {
            assert!(child.wait().unwrap().success());
        }
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        succeeds(self.command().args(["-O", "exit", "localhost"]));
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

/// Ansible's `ansible` from PyPI, with pipelining and kept connections: as fast as its manual says how to make it.
pub struct Ansible {
    program: PathBuf,
    place: PathBuf,
}

impl Ansible {
    pub fn find(ssh: &Ssh) -> Result<Self, String> {
        let program = tool("ansible")?;
        let hosts: Vec<String> = (0..300).map(|number| format!("m{number}")).collect();
        let common = format!(
            "\n[all:vars]\nansible_host=127.0.0.1\nansible_port={}\nansible_user=root\nansible_ssh_private_key_file={}/user\n\
             ansible_python_interpreter=/usr/bin/python3\n",
            ssh.port,
            ssh.place.display()
        );
        fs::write(ssh.place.join("ansible.hosts"), hosts.join("\n") + &common).unwrap();
        let ansible = Self { program, place: ssh.place.clone() };
        let tried = ansible.command(1).output().map_err(|error| error.to_string())?;
        if tried.status.success() { Ok(ansible) } else { Err(last_line(&tried.stdout, &tried.stderr)) }
    }

    fn command(&self, count: usize) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(format!("all[0:{}]", count - 1)).args(["-m", "command", "-a", "/bin/true", "-i"]);
        command.arg(self.place.join("ansible.hosts")).args(["-f", &count.to_string()]).stdin(Stdio::null());
        command.env("HOME", &self.place).env("ANSIBLE_PIPELINING", "1").env("ANSIBLE_HOST_KEY_CHECKING", "0");
        command.env(
            "ANSIBLE_SSH_ARGS",
            "-F none -o ControlMaster=auto -o ControlPersist=600 -o UserKnownHostsFile=/dev/null",
        );
        command
    }

    pub fn run(&self, count: usize) {
        assert!(succeeds(&mut self.command(count)));
    }
}

/// Salt's `salt-ssh` from PyPI, in the mode that needs nothing on the other side.
pub struct Salt {
    program: PathBuf,
    place: PathBuf,
}

impl Salt {
    pub fn find(ssh: &Ssh) -> Result<Self, String> {
        let program = tool("salt-ssh")?;
        let place = ssh.place.join("salt");
        fs::create_dir_all(&place).unwrap();
        let roster = format!(
            "m0:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  priv: {}/user\n",
            ssh.port,
            ssh.place.display()
        );
        fs::write(place.join("roster"), roster).unwrap();
        let below = place.display();
        fs::write(place.join("master"), format!("root_dir: {below}\npki_dir: {below}/pki\ncachedir: {below}/cache\n"))
            .unwrap();
        let salt = Self { program, place };
        let tried = salt.command().output().map_err(|error| error.to_string())?;
        if tried.status.success() { Ok(salt) } else { Err(last_line(&tried.stdout, &tried.stderr)) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--raw-shell", "--ignore-host-keys", "--no-host-keys", "-c"]).arg(&self.place);
        command.arg("--roster-file").arg(self.place.join("roster")).arg("--log-file").arg(self.place.join("log"));
        command.args(["m0", "/bin/true"]).env("HOME", &self.place).stdin(Stdio::null());
        command
    }

    pub fn run(&self) {
        assert!(succeeds(&mut self.command()));
    }
}

/// A program that scripts/need-rivals has put below REMOTECTL_BENCH_TOOLS.
fn tool(name: &str) -> Result<PathBuf, String> {
    let tools =
        std::env::var_os("REMOTECTL_BENCH_TOOLS").ok_or("REMOTECTL_BENCH_TOOLS is not set (use `make bench`)")?;
    let program = Path::new(&tools).join(name);
    if program.exists() { Ok(program) } else { Err(format!("pip could not install {name} here")) }
}

fn last_line(out: &[u8], err: &[u8]) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it fails and says nothing").to_owned()
}
