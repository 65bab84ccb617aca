#!/bin/sh
# A Kubernetes node on this machine: containerd, kubelet, kube-proxy, DNS, and a network of pods. It runs until its standard input ends,
# and then leaves nothing behind, also when who started it was killed. Needs root; there is one at a time.
# Usage: node.sh FOLDER CACHE COMMANDS COREDNS, where settings and data go, what `fetch.sh` fetched, and the programs.
#
# It says `network` when the node has its address; who started it then makes the control plane there, puts these into FOLDER: kubeconfig,
# kubelet.kubeconfig, ca.crt, kubelet.crt, kubelet.key, and says `go`.
#
# All that runs is in a process namespace and a mount namespace (unshare(1)): with the first process there the kernel ends all others, the
# pods' too, and takes their mounts away. What is left to remove has a name of ours, so another cluster on this machine stays whole.
set -eu

[ "${1:-}" != inside ] || { is_inside=yes && shift; }
folder=$1
tools=$2/node-1
commands=$3
coredns=$4
# The bridge that the pods are plugged into, and its address, which is the node's and the gateway's.
bridge=lab0
address=10.244.0.1
# The pods' control groups.
cgroup=transcription-lab
socket="$folder/containerd.sock"
PATH="$tools/usr/bin:$tools/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

# Removes what namespaces do not take with them, also of a node that was killed.
clean() {
    if ip link show "$bridge" >/dev/null 2>&1; then
        for family in ip ip6; do nft delete table "$family" kube-proxy 2>/dev/null || :; done
        nft delete table ip "$bridge" 2>/dev/null || :
        ip link delete "$bridge"
    fi
    find /sys/fs/cgroup -depth -type d \( -path "*/$cgroup" -o -path "*/$cgroup/*" \) -exec rmdir {} + 2>/dev/null || :
}

end() {
    # What runs inside has ended when `wait` returns.
    [ -z "$inside" ] || kill -KILL "$inside" 2>/dev/null || :
    wait
    clean
}

# Everything of it goes with the bridge, but the table.
network() {
    for module in br_netfilter overlay; do modprobe "$module" 2>/dev/null || :; done
    ip link add "$bridge" type bridge
    # Without it a pod does not reach a Service that lands on its own node.
    ip link set "$bridge" type bridge nf_call_iptables 1
    ip address add "$address/24" dev "$bridge"
    ip link set "$bridge" up
    echo 1 >"/proc/sys/net/ipv4/conf/$bridge/forwarding"
    # What asks for a Service before kube-proxy knows it stays here.
    ip route add 10.96.0.0/16 dev "$bridge"
    # Nor do pods reach anything outside of this machine.
    nft -f - <<END
table ip $bridge {
    chain forward {
        type filter hook forward priority filter
        iifname "$bridge" oifname != "$bridge" reject
    }
}
END
}

# Not the top ones: another kubelet would end pods that it does not know.
control_groups() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        for controller in cpu cpuset memory pids hugetlb; do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || :
        done 2>/dev/null
        mkdir "/sys/fs/cgroup/$cgroup"
    else
        for hierarchy in /sys/fs/cgroup/*/; do mkdir -p "$hierarchy$cgroup"; done
    fi
}

containerd_settings() {
    mkdir -p "$folder/cni" "$folder/registries/_default"
    cat >"$folder/cni/lab.conflist" <<END
{
  "cniVersion": "0.4.0", "name": "lab",
  "plugins": [{
    "type": "bridge", "bridge": "$bridge", "isGateway": true, "hairpinMode": true,
    "ipam": {"type": "host-local", "dataDir": "$folder/addresses", "ranges": [[{"subnet": "10.244.0.0/24", "gateway": "$address"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
END
    # Whatever is not here already is not to be had: no pull leaves this machine.
    cat >"$folder/registries/_default/hosts.toml" <<END
server = "http://127.0.0.1:1"
[host."http://127.0.0.1:1"]
END
    cat >"$folder/containerd.toml" <<END
version = 2
root = "$folder/containerd"
state = "$folder/containerd-state"
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "lab.local/pause:1"
  # Without it runc dies where it may not lower the score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$tools/usr/lib/cni"
    conf_dir = "$folder/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$folder/registries"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "$tools/usr/sbin/runc"
END
}

kubelet_settings() {
    mkdir -p "$folder/kubelet" "$folder/pod-logs"
    cat >"$folder/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $folder/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$socket
enforceNodeAllocatable: []
evictionHard: {memory.available: 1%, nodefs.available: 1%, imagefs.available: 1%}
failCgroupV1: false
failSwapOn: false
healthzPort: 0
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
podLogsDir: $folder/pod-logs
tlsCertFile: $folder/kubelet.crt
tlsPrivateKeyFile: $folder/kubelet.key
volumePluginDir: $folder/volume-plugins
END
    cat >"$folder/Corefile" <<END
.:10053 {
    bind $address
    errors
    cache 5
    kubernetes cluster.local {
        kubeconfig $folder/kubeconfig
    }
}
END
}

start() { # name, program, arguments
    name=$1
    shift
    # The lock is this script's alone.
    "$@" >"$folder/$name.log" 2>&1 9>&- </dev/null &
}

wait_for() { # what, command
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || {
            echo "in vain waited for $what" >&2
            return 1
        }
        sleep 0.1
    done
}

run_inside() {
    # Where the programs put things by names that cannot be set.
    for path in /run/containerd /run/netns /var/lib/cni /var/lib/kubelet /var/log/containers; do
        mkdir -p "$path"
        mount -t tmpfs lab "$path"
    done
    start containerd containerd --config "$folder/containerd.toml"
    wait_for containerd ctr --address "$socket" version
    ctr --address "$socket" --namespace k8s.io images import "$tools/pause.tar" >/dev/null
    start kubelet "$commands/kubelet" --config "$folder/kubelet.yaml" --kubeconfig "$folder/kubelet.kubeconfig" --hostname-override=lab \
        --node-ip="$address" --root-dir="$folder/kubelet" --cert-dir="$folder/kubelet"
    start kube-proxy "$commands/kube-proxy" --kubeconfig "$folder/kubeconfig" --proxy-mode nftables --conntrack-max-per-core=0 \
        --hostname-override=lab --bind-address="$address" --healthz-bind-address= --metrics-bind-address= --cluster-cidr=10.244.0.0/16
    start coredns "$coredns" -conf "$folder/Corefile"
    wait_for DNS grep -q "CoreDNS-" "$folder/coredns.log"
    echo started
    cat >/dev/null
}

if [ -n "${is_inside:-}" ]; then
    run_inside
    exit
fi
exec 9>"$2/node.lock"
flock --nonblock 9 || {
    echo "Another node is at work on this machine: waiting until it ends (make cluster-down ends the one of make cluster) ..." >&2
    flock --timeout 1800 9 || {
        echo "It did not end in half an hour." >&2
        exit 1
    }
}
clean
! nft list table ip kube-proxy >/dev/null 2>&1 || {
    echo "This machine is a node of another Kubernetes, whose kube-proxy would not bear a second one." >&2
    exit 1
}
# A shell gives what it starts in the background no standard input of its own.
exec 3<&0
inside=""
trap 'end' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$folder"
network
control_groups
echo network
read -r go && [ "$go" = go ] || exit 0
containerd_settings
kubelet_settings
unshare --pid --fork --kill-child --mount --mount-proc "$0" inside "$@" <&3 3<&- &
inside=$!
wait "$inside"
