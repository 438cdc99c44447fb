# Runs once inside the image: the services of a peer, and a user whose mail is looked at.
systemctl enable lab-tinydns.service
systemctl disable postfix.service apt-cacher-ng.service tinydns.service 2>/dev/null || true
useradd --system --create-home --home-dir /var/spool/lab --shell /usr/sbin/nologin labmail
mkdir -p /etc/tinydns/root
touch /etc/tinydns/root/data
