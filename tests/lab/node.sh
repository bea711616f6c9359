# Turns a fresh set of namespaces into a Proxmox node, as far as programs on it can tell, and holds them: this shell is
# the node's process 1, and when its standard input ends (the test is gone, however it ended) the kernel kills the rest.
# Arguments: the node's name, its address, the run's folder, the stand-in executable, the product's executable (or "").
set -eu
name=$1 address=$2 run=$3 standin=$4 product=$5
# Read before /proc is this namespace's own: the number that the outside knows this process by.
read -r outside _ </proc/self/stat
mount -t proc proc /proc
hostname "$name"

# Everything that the overlays below would hide is bound to /mnt first.
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/pve /mnt/rootfs /mnt/upper
mount --bind "$run/pve" /mnt/pve
mount --bind "$run/rootfs" /mnt/rootfs
touch /mnt/standin /mnt/remotectl
mount --bind "$standin" /mnt/standin
if [ -n "$product" ]; then mount --bind "$product" /mnt/remotectl; fi

mount -t sysfs sysfs /sys
mount -t cgroup2 none /sys/fs/cgroup

# Whatever is written on the node is gone with it.
for folder in etc usr root opt var home srv tmp; do
    mkdir "/mnt/upper/$folder" "/mnt/upper/$folder/u" "/mnt/upper/$folder/w"
    chmod --reference="/$folder" "/mnt/upper/$folder/u"
    mount -t overlay -o "lowerdir=/$folder,upperdir=/mnt/upper/$folder/u,workdir=/mnt/upper/$folder/w" overlay "/$folder"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock /run/lxc /etc/pve /etc/remotectl /var/lib/lxc /root/.ssh
mount -t tmpfs -o mode=755 tmpfs /var/lib/lxc
mount -t tmpfs -o mode=700 tmpfs /root/.ssh
mount --bind /mnt/pve /etc/pve
echo "$name" >/etc/hostname
cat "$run/hosts" >/etc/hosts
cp "$run/ssh/id_ed25519" "$run/ssh/known_hosts" /root/.ssh/
cp "$run/ssh/id_ed25519.pub" /root/.ssh/authorized_keys
chmod 600 /root/.ssh/id_ed25519
echo root:100000:65536 >/etc/subuid
echo root:100000:65536 >/etc/subgid

ip link set lo up
ip link add vmbr0 type bridge
ip address add "$address/16" dev vmbr0
ip link set vmbr0 up

if [ -n "$product" ]; then ln -sf /mnt/remotectl /usr/local/bin/remotectl; fi
if [ "$name" != driver ]; then
    for tool in pct qm pvesh pveum pveversion; do ln -sf /mnt/standin "/usr/sbin/$tool"; done
fi

echo "ready $outside"
# Waiting for this child is also what reaps the node's orphans.
cat >/dev/null
:
