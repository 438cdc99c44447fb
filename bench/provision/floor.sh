#!/bin/sh
# The floor: what site.yml installs on a fresh host, by hand, once, for one host, with no thought of a second run, of a
# mistake in the inventory, or of being locked out. It takes the numbers and addresses of the lab from floor.conf.
set -eu
cd "$(dirname "$0")"
# shellcheck source=/dev/null
. ./floor.conf
export DEBIAN_FRONTEND=noninteractive PATH=/command:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# service_trimming
for unit in atd.service rpcbind.service rpcbind.socket exim4.service exim4-base.timer; do
    systemctl --quiet disable --now $unit 2>/dev/null || true
    systemctl --quiet mask $unit
done
apt-get -qq update
apt-get -qq -o Dpkg::Use-Pty=0 -y purge at rpcbind

# foundation: users and packages
mkdir -p /etc/sysusers.d
cat > /etc/sysusers.d/gatewright.conf <<'END'
g dnscache 953
g qmail 64010
g nofiles 64011
g gatescan 955
g sugroup 960
g gatepost-signer 961
u dnscache 953:953 - /etc/dnscache
u dnslog 954:953 - /etc/dnscache/log
u alias 64010:64011 - /var/qmail/alias
u qmaild 64011:64011 - /var/qmail
u qmaill 64012:64011 - /var/qmail
u qmailp 64013:64011 - /var/qmail
u qmailq 64014:64010 - /var/qmail
u qmailr 64015:64010 - /var/qmail
u qmails 64016:64010 - /var/qmail
u gatescan 955:955 - /var/spool/gatescan
u gatescan-notify 956:955 - /var/spool/gatescan
u gatepost-signer 961:961 - /etc/gatepost
END
systemd-sysusers
apt-get -qq -y --no-install-recommends install nftables daemontools ucspi-tcp-ipv6 dnscache libarchive13t64 \
    libseccomp2 python3-dnspython python3-cryptography python3-openssl ca-certificates openssl iproute2 \
    aide apparmor apparmor-utils apt-listchanges chrony cracklib-runtime cron debsums \
    fail2ban libpam-pwquality logrotate needrestart python3-systemd rsyslog sudo unattended-upgrades

# hardening: what a script of this length would have of it
cat > /etc/sysctl.d/99-gateway.conf <<'END'
net.ipv4.conf.all.accept_redirects = 0
net.ipv4.conf.all.accept_source_route = 0
net.ipv4.conf.all.log_martians = 1
net.ipv4.conf.all.rp_filter = 1
net.ipv4.tcp_syncookies = 1
kernel.kptr_restrict = 2
kernel.dmesg_restrict = 1
fs.suid_dumpable = 0
END
mkdir -p /etc/modprobe.d
for module in cramfs dccp rds sctp tipc usb-storage; do echo "install $module /bin/false"; done \
    > /etc/modprobe.d/gateway.conf
printf '* hard core 0\n' > /etc/security/limits.d/gateway.conf
sysctl --quiet --load /etc/sysctl.d/99-gateway.conf 2>/dev/null || true # a container may set few of them
cp pam-configs/* /usr/share/pam-configs/
pam-auth-update --force --enable gatewright-faillock gatewright-faillock-notify gatewright-pwhistory gatewright-root-umask
printf 'deny = 5\nunlock_time = 900\n' > /etc/security/faillock.conf
printf 'minlen = 14\nminclass = 3\n' > /etc/security/pwquality.conf
printf 'Defaults use_pty\nDefaults logfile=/var/log/sudo.log\n' > /etc/sudoers.d/gateway
echo root | tee /etc/cron.allow > /etc/at.allow
echo 'Authorized users only.' | tee /etc/issue /etc/issue.net > /etc/motd
printf '[Journal]\nStorage=persistent\nForwardToSyslog=yes\nSystemMaxUse=500M\n' > /etc/systemd/journald.conf
printf 'pool 2.debian.pool.ntp.org iburst\nport 0\ncmdport 0\ndriftfile /var/lib/chrony/chrony.drift\n' \
    > /etc/chrony/chrony.conf
printf 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n' \
    > /etc/apt/apt.conf.d/20auto-upgrades
printf '[sshd]\nenabled = true\nbackend = systemd\nbanaction = nftables\n' > /etc/fail2ban/jail.local
systemctl --quiet restart systemd-journald rsyslog chrony fail2ban

# firewall
cat > /etc/nftables.conf <<'END'
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport { 22, 25 } accept
    }
    chain output {
        type filter hook output priority 0; policy drop;
        oif lo accept
        ct state established,related accept
        meta l4proto { icmp, ipv6-icmp } accept
        tcp sport 22 accept
        meta skuid { 0, 42, 953 } meta l4proto { tcp, udp } th dport 53 accept
        meta skuid { 0, 42 } tcp dport { 80, 443 } accept
        meta skuid 64015 tcp dport 25 accept
    }
}
END
nft -f /etc/nftables.conf
systemctl --quiet enable nftables

# sshd
cat > /etc/ssh/sshd_config.d/gateway.conf <<'END'
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
AllowTcpForwarding no
END
sshd -t
systemctl reload ssh

# daemontools
mkdir -p /command /service
for program in envdir multilog setuidgid softlimit supervise svc svok svscan svstat tai64n tai64nlocal; do
    ln -s /usr/bin/$program /command/$program
done
cat > /etc/systemd/system/svscan.service <<'END'
[Unit]
After=network-online.target nftables.service
[Service]
ExecStart=/command/svscan /service
Environment=PATH=/command:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin
Restart=always
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl --quiet enable --now svscan

# dnscache
mkdir -p /etc/dnscache/log/main /etc/dnscache/env /etc/dnscache/root/ip /etc/dnscache/root/servers
cd /etc/dnscache
chown dnslog: log/main
echo 127.0.0.1 > env/IP
echo 0.0.0.0 > env/IPSEND
echo /etc/dnscache/root > env/ROOT
echo 953 > env/UID
echo 953 > env/GID
echo 10000000 > env/CACHESIZE
touch root/ip/127.0.0.1
echo "$ROOT_SERVER" > root/servers/@
printf '#!/bin/sh\nexec 2>&1 < /dev/urandom\nexec envdir ./env softlimit -o250 -d 30000000 dnscache\n' > run
printf '#!/bin/sh\nexec setuidgid dnslog multilog t ./main\n' > log/run
chmod 755 run log/run
ln -s /etc/dnscache /service/dnscache
echo nameserver 127.0.0.1 > /etc/resolv.conf
cd - > /dev/null

# qmail, what is in front of it and behind it, and the scanner: built here, with a compiler that goes again
until host=$(getent hosts "$MIRROR") && [ -n "$host" ]; do sleep 0.2; done
apt-get -qq -y --no-install-recommends install gcc libc6-dev libssl-dev make groff-base patch
mkdir build
tar -x --strip-components 1 -C build -f "$ARCHIVE"
(
    cd build
    for patch in ../qmail/patches/*/*.patch; do [ ! -e "$patch" ] || patch --quiet -p1 < "$patch"; done
    echo gcc -O2 -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2 > conf-cc
    echo gcc -s -pie -Wl,-z,relro,-z,now > conf-ld
    make it man
    apt-get -qq -y purge exim4-base exim4-config
    make setup check
)
make -C qmail/slots OUT=.
install -D -m 0711 qmail/slots/smtp-slots /usr/lib/gatewright/smtp-slots
(
    cd starttls
    make OUT=.
    DESTDIR='' sh package/install.sh
)
(
    cd scanner
    make -C client OUT=..
    DESTDIR='' sh package/install.sh
)
(
    cd gatepost
    make -C client OUT=..
    DESTDIR='' sh package/install.sh
)
python3 -m compileall -q /usr/lib/python3/dist-packages/gatescan /usr/lib/python3/dist-packages/gatepost
apt-get -qq -y purge gcc libc6-dev libssl-dev make patch
apt-get -qq -y autoremove --purge
rm -r build
ln -sf /var/qmail/bin/sendmail /usr/sbin/sendmail
cd /var/qmail
echo "$ME" | tee control/me control/locals control/rcpthosts > /dev/null
echo "${ME#*.}" > control/defaultdomain
echo "${ME##*.}" > control/plusdomain
echo corp.test >> control/rcpthosts
echo "corp.test:[$OFFICE]" > control/smtproutes
echo 2000000 > control/databytes
for name in root postmaster mailer-daemon; do echo '&admin@corp.test' > alias/.qmail-$name; done
mkdir -p supervise/qmail-send/log supervise/qmail-smtpd/log supervise/qmail-smtpd/env /var/log/qmail/smtpd
chown -R qmaill:nofiles /var/log/qmail
echo optional > supervise/qmail-smtpd/env/STARTTLS
echo /usr/lib/gatescan/gatescan-queue > supervise/qmail-smtpd/env/QMAILQUEUE
cat > supervise/qmail-send/run <<'END'
#!/bin/sh
exec 2>&1
exec env - PATH="/usr/lib/gatepost/remote:/var/qmail/bin:$PATH" qmail-start ./Maildir/
END
cat > supervise/qmail-smtpd/run <<'END'
#!/bin/sh
exec 2>&1
slots=/var/qmail/supervise/qmail-smtpd/slots
touch $slots && chmod 600 $slots
exec 8<> $slots 9< /etc/gatewright/starttls.pem
exec softlimit -m 64000000 envdir ./env tcpserver -v -R -H -l 0 -x /etc/tcp.smtp.cdb -c 150 -u 64011 -g 64011 0 25 \
    /usr/lib/gatewright/smtp-slots 100 40 50 20 /usr/lib/gatewright/starttls-smtpd /var/qmail/bin/qmail-smtpd
END
printf '#!/bin/sh\nexec setuidgid qmaill multilog t s10000000 n20 /var/log/qmail\n' > supervise/qmail-send/log/run
printf '#!/bin/sh\nexec setuidgid qmaill multilog t s10000000 n20 /var/log/qmail/smtpd\n' > supervise/qmail-smtpd/log/run
chmod 755 supervise/*/run supervise/*/log/run

# starttls
mkdir -p /etc/gatewright
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 397 -subj "/CN=$ME" \
    -addext "subjectAltName=DNS:$ME" -keyout key.pem -out certificate.pem 2> /dev/null
cat key.pem certificate.pem > /etc/gatewright/starttls.pem
chmod 600 /etc/gatewright/starttls.pem
rm key.pem certificate.pem

# gatepost
cd "$OLDPWD"
mkdir -p /etc/gatepost/dkim
cp -r gatepost-etc/service /etc/gatepost/
sed -i 's,/usr/local/lib/gatewright/takeover ,,' /etc/gatepost/service/*/run /etc/gatepost/service/*/log/run
chmod 755 /etc/gatepost/service/*/run /etc/gatepost/service/*/log/run
chgrp gatepost-signer /etc/gatepost/dkim
chmod 750 /etc/gatepost/dkim
install -d -o qmailr -g adm -m 2751 /var/log/gatepost
install -d -o qmaill -g adm -m 2750 /var/log/gatepost/daemon /var/log/gatepost/signer
echo '{"journal": "/var/log/gatepost/deliveries.jsonl", "timeouts_descriptor": 9}' > /etc/gatepost/config.json
ln -s /etc/gatepost/service/gatepost-signer /etc/gatepost/service/gatepost /service/

# tcp_smtp
for last in 16 17 18 19 20 21 22 23; do echo "$NET4.$last:allow,RELAYCLIENT=\"\""; done > /etc/tcp.smtp
echo ':allow' >> /etc/tcp.smtp
tcprules /etc/tcp.smtp.cdb /etc/tcp.smtp.tmp < /etc/tcp.smtp
ln -s /var/qmail/supervise/qmail-send /var/qmail/supervise/qmail-smtpd /service/

# scanner
mkdir -p /etc/gatescan/service/gatescan/log /etc/gatescan/service/gatescan-notify/log /etc/gatescan/templates
install -d /var/lib/gatescan
install -d -o gatescan -g gatescan -m 0750 /var/log/gatescan /var/log/gatescan/daemon
install -d -o gatescan -g gatescan -m 0751 /var/spool/gatescan
install -d -g nofiles -m 1730 /var/spool/gatescan/incoming
install -d -o gatescan -g gatescan -m 2770 /var/spool/gatescan/notices
install -d -o gatescan -g gatescan -m 0700 /var/spool/gatescan/quarantine
for name in tmp new cur; do install -d -o gatescan -g gatescan -m 0700 /var/spool/gatescan/quarantine/$name; done
install -d -o gatescan -g gatescan /var/lib/gatescan/metrics
install -d -o gatescan-notify -g gatescan -m 0750 /var/log/gatescan/notify
printf '{"hostname": "%s", "local_domains": ["corp.test"], "notices": {"admin": "admin@corp.test"}}\n' "$ME" \
    > /etc/gatescan/config.json
cp /usr/lib/python3/dist-packages/gatescan/share/quarantine-attachments.txt /etc/gatescan/
gatescan rules build > /dev/null
cat > /etc/gatescan/service/gatescan/run <<'END'
#!/bin/sh
exec 2>&1
install -d -o gatescan -g nofiles -m 2751 /run/gatescan
exec setuidgid gatescan env PYTHONUNBUFFERED=1 /usr/bin/gatescan daemon
END
cat > /etc/gatescan/service/gatescan-notify/run <<'END'
#!/bin/sh
exec 2>&1
exec setuidgid gatescan-notify env PYTHONUNBUFFERED=1 /usr/bin/gatescan notify --loop 60
END
printf '#!/bin/sh\nexec setuidgid gatescan multilog t /var/log/gatescan/daemon\n' \
    > /etc/gatescan/service/gatescan/log/run
printf '#!/bin/sh\nexec setuidgid gatescan-notify multilog t /var/log/gatescan/notify\n' \
    > /etc/gatescan/service/gatescan-notify/log/run
chmod 755 /etc/gatescan/service/*/run /etc/gatescan/service/*/log/run
ln -s /etc/gatescan/service/gatescan /etc/gatescan/service/gatescan-notify /service/
until [ -S /run/gatescan/gatescan.sock ] && svstat /service/qmail-smtpd | grep -q ': up '; do sleep 0.2; done

# hardening: set-id programs that nobody needs, and the baseline of the integrity check
for name in chage chfn chsh dotlockfile expiry gpasswd mount newgrp umount; do
    [ ! -e /usr/bin/$name ] || chmod ug-s /usr/bin/$name
done
chmod ug-s /usr/lib/openssh/ssh-keysign
mkdir -p /etc/aide /var/lib/aide
printf '%s\n' database_in=file:/var/lib/aide/aide.db database_out=file:/var/lib/aide/aide.db.new gzip_dbout=no \
    'Content = p+i+n+u+g+ftype+s+m+c+sha512' '!/var/qmail/queue' '/boot Content' '/etc Content' '/opt Content' \
    '/usr Content' '/var/qmail Content' > /etc/aide/aide.conf
aide --config /etc/aide/aide.conf --init > /dev/null
mv /var/lib/aide/aide.db.new /var/lib/aide/aide.db
