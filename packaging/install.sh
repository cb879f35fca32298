#!/usr/bin/env bash
# Sets a small box (x86-64 or arm64, systemd, Python 3.11 or newer) up as a gateway, or changes how it is set up.
# Doing it again changes nothing; what differs is written, and said.
set -euo pipefail
umask 022

usage() {
    cat <<'USAGE'
用法 usage: SMARTCARE_UPLINK_URL=mqtts://… install.sh --code CODE --shard N --source SOURCE [选项 options]

  SMARTCARE_UPLINK_URL     as `smartcare gateway add` printed it; needed the first time, kept afterwards
  --code CODE              the gateway's code in the register
  --shard N                its shard, 0 to 63
  --source zigbee2mqtt | chirpstack | none    who speaks with the sensors (may be said twice)
  --bus-url URL            the devices' broker (default mqtt://127.0.0.1:1883, and Mosquitto is set up for it)
  --http HOST:PORT         where devices post (default: nowhere)
  --zone ZONE              zone of devices that give local times (default Asia/Shanghai)
  --spool-mb MB            most that is kept while offline (default 2048)
  --wheel FILE|NAME        what pip installs (default smartcare)
  --root DIR               write files below DIR and start nothing: for an image
  --dry-run                say what would be done and do nothing
USAGE
}

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 2
}

code='' shard='' bus_url='mqtt://127.0.0.1:1883' http='' zone='Asia/Shanghai' spool_mb=2048 wheel='smartcare' root='' dry=''
sources=() changed=''
uplink_url="${SMARTCARE_UPLINK_URL:-}"

while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry=1; shift; continue ;;
        -h | --help) usage; exit 0 ;;
        --code | --shard | --source | --bus-url | --http | --zone | --spool-mb | --wheel | --root) ;;
        *) usage >&2; fail "unknown option $1" ;;
    esac
    [ $# -ge 2 ] || fail "$1 takes a value"
    case "$1" in
        --code) code=$2 ;;
        --shard) shard=$2 ;;
        --source) sources+=("$2") ;;
        --bus-url) bus_url=$2 ;;
        --http) http=$2 ;;
        --zone) zone=$2 ;;
        --spool-mb) spool_mb=$2 ;;
        --wheel) wheel=$2 ;;
        --root) root=${2%/} ;;
    esac
    shift 2
done

# ------------------------------------------------------------------ what was said
plain() { # value pattern what
    [[ "$1" =~ ^$2$ ]] || fail "$3, got '$1'"
}
url='mqtts?://[][A-Za-z0-9._~%!$&()*+,;=:@/-]+'
plain "$code" '[A-Za-z0-9_-]{1,64}' '--code has 1 to 64 letters, digits, - or _'
plain "$shard" '([0-9]|[1-5][0-9]|6[0-3])' '--shard is 0 to 63'
plain "$bus_url" "$url" '--bus-url is mqtt://… or mqtts://…'
plain "$http" '([][A-Za-z0-9.:-]+:[0-9]{1,5})?' '--http is HOST:PORT'
plain "$zone" '[A-Za-z0-9_+/-]{1,64}' '--zone is an IANA zone'
plain "$spool_mb" '[1-9][0-9]{0,6}' '--spool-mb is a number of megabytes'
[ ${#sources[@]} -gt 0 ] || fail 'say --source zigbee2mqtt, chirpstack or none'
for source in "${sources[@]}"; do
    plain "$source" '(zigbee2mqtt|chirpstack|none)' '--source is zigbee2mqtt, chirpstack or none'
done

config="$root/etc/smartcare/gateway.toml"
if [ -z "$uplink_url" ] && [ -r "$config" ]; then
    uplink_url=$(sed -n 's/^uplink_url = "\(.*\)"$/\1/p' "$config")
fi
[[ "$uplink_url" =~ ^$url$ ]] || fail 'set SMARTCARE_UPLINK_URL to what "smartcare gateway add" printed (it is never shown here)'

case "$(uname -m)" in
    x86_64 | aarch64 | arm64) ;;
    *) fail "this is $(uname -m); x86-64 and arm64 are supported" ;;
esac
python=$(command -v python3) || fail 'python3 is missing: apt install python3 python3-venv'
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed, this is $("$python" -V)"
if [ -z "$root$dry" ]; then
    [ "$(id -u)" -eq 0 ] || fail 'run it as root, or with --dry-run'
    command -v systemctl >/dev/null || fail 'systemd is missing'
fi

# ------------------------------------------------------------------ doing
run() { # a command that changes the system
    if [ -n "$dry" ]; then printf 'would run: %s\n' "$*"; else "$@"; fi
}

put() { # file mode group: writes standard input there if that differs
    local file="$1" mode="$2" group="$3" text
    text=$(cat; printf x)
    text=${text%x}
    if [ -f "$file" ] && [ "$(cat "$file"; printf x)" = "${text}x" ]; then
        printf 'unchanged: %s\n' "$file"
        return
    fi
    changed=1
    if [ -n "$dry" ]; then
        printf 'would write: %s\n' "$file"
        return
    fi
    install -d -m 0755 "$(dirname "$file")"
    install -m 0600 /dev/null "$file.new"
    printf '%s' "$text" >"$file.new"
    if [ -z "$root" ]; then chown "root:$group" "$file.new"; fi
    chmod "$mode" "$file.new"
    mv "$file.new" "$file"
    printf 'written: %s\n' "$file"
}

if [ -z "$root" ]; then
    if ! id smartcare >/dev/null 2>&1; then
        run useradd --system --home-dir /var/lib/smartcare --shell /usr/sbin/nologin smartcare
    fi
    # shellcheck disable=SC2174 # only the last folder is ours
    [ -x /opt/smartcare/bin/python ] || run "$python" -m venv /opt/smartcare
    run /opt/smartcare/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "$wheel"
    run chmod -R go+rX /opt/smartcare
fi

put "$config" 0640 smartcare <<TOML
# A gateway of smartcare; see docs/operation.md. Written by install.sh; it is read again when it changes.
code = "$code"
shard = $shard
uplink_url = "$uplink_url"
bus_url = "$bus_url"
spool = "/var/lib/smartcare/spool.db"
spool_mb = $spool_mb
zone = "$zone"
http = "$http"
status = "127.0.0.1:8788"
jitter_s = 60
TOML

put "$root/etc/systemd/system/smartcare-gateway.service" 0644 root <<'UNIT'
[Unit]
Description=smartcare gateway
After=network.target mosquitto.service
# A spool that takes nothing ends the process; it is tried again for ever, because nobody is there.
StartLimitIntervalSec=0

[Service]
ExecStart=/opt/smartcare/bin/smartcare gateway run --config /etc/smartcare/gateway.toml
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=2
TimeoutStopSec=15
User=smartcare
Group=smartcare
StateDirectory=smartcare
StateDirectoryMode=0700
WorkingDirectory=/var/lib/smartcare
UMask=0077
MemoryMax=512M
OOMScoreAdjust=-200
# It speaks TCP and writes its state; the rest of the machine is none of its business.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
PrivateTmp=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
UNIT

if [ "$bus_url" = 'mqtt://127.0.0.1:1883' ]; then
    put "$root/etc/mosquitto/conf.d/smartcare.conf" 0644 root <<'CONF'
# The devices' bus: only this machine is heard, and only the devices' topics are carried.
listener 1883 127.0.0.1
allow_anonymous true
acl_file /etc/mosquitto/smartcare.acl
max_queued_messages 100000
max_packet_size 4194304
CONF
    put "$root/etc/mosquitto/smartcare.acl" 0644 root <<'ACL'
topic readwrite zigbee2mqtt/#
topic readwrite application/#
topic readwrite mqtt/#
topic readwrite milesight/#
topic readwrite tb/#
topic readwrite +/gateway/#
ACL
fi

for source in "${sources[@]}"; do
    case "$source" in
        zigbee2mqtt)
            # By its environment, which it writes into its own file when it starts: only these keys, whatever else stands there.
            # With qos 1 the broker keeps what is said while the gateway is away.
            put "$root/etc/systemd/system/zigbee2mqtt.service.d/smartcare.conf" 0644 root <<DROPIN
[Service]
Environment=ZIGBEE2MQTT_CONFIG_MQTT_SERVER=mqtt://127.0.0.1:1883
Environment=ZIGBEE2MQTT_CONFIG_MQTT_BASE_TOPIC=zigbee2mqtt
Environment=ZIGBEE2MQTT_CONFIG_ADVANCED_LAST_SEEN=ISO_8601
Environment=ZIGBEE2MQTT_CONFIG_AVAILABILITY_ENABLED=true
Environment='ZIGBEE2MQTT_CONFIG_DEVICE_OPTIONS={"qos":1}'
DROPIN
            ;;
        chirpstack)
            file="$root/etc/chirpstack/chirpstack.toml"
            if [ -f "$file" ] && grep -q '^\[integration\.mqtt\]' "$file"; then
                grep -q '^ *json *= *true' "$file" || printf 'please: set json = true under [integration.mqtt] in %s\n' "$file"
                printf 'unchanged: %s\n' "$file"
            elif [ -f "$file" ]; then
                { cat "$file"; printf '\n[integration]\nenabled = ["mqtt"]\n\n'
                  printf '[integration.mqtt]\nserver = "tcp://127.0.0.1:1883/"\njson = true\nqos = 1\n'; } | put "$file" 0640 chirpstack
            else
                printf 'not there yet: %s; install ChirpStack v4 and run this again\n' "$file"
            fi
            ;;
    esac
done

# ------------------------------------------------------------------ starting
if [ -z "$root" ]; then
    if [ -n "$changed" ]; then
        run systemctl daemon-reload
        for unit in mosquitto zigbee2mqtt chirpstack; do
            if systemctl is-enabled --quiet "$unit" 2>/dev/null; then run systemctl restart "$unit"; fi
        done
        run systemctl enable smartcare-gateway
        run systemctl restart smartcare-gateway
    fi
    printf '状态 status: /opt/smartcare/bin/smartcare gateway status\n'
fi
if [ -n "$changed" ]; then printf '完成 done\n'; else printf '没有变化 nothing changed\n'; fi
