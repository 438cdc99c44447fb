# Runs in the throwaway root: what was built becomes the package.
install -D -m 0755 starttls-smtpd "$DESTDIR/usr/lib/gatewright/starttls-smtpd"
