# Runs in the throwaway root, which has qmail's accounts: the paper's `make setup check`, then what it made becomes the package.
out=$DESTDIR
unset DESTDIR  # notqmail would heed it; the older releases know only /var/qmail
mkdir -p /var
make setup check > /tmp/setup.log 2>&1 || { cat /tmp/setup.log; exit 1; }
if grep 'instcheck: ' /tmp/setup.log; then exit 1; fi

mkdir -p "$out/var" "$out/usr/bin" "$out/usr/sbin" "$out/usr/lib/gatewright" "$out/usr/share/gatewright"
cp -a /var/qmail "$out/var/"
# Not readable for who runs it: it holds what root has opened for the program behind it (see starttls-smtpd).
install -m 0711 slots/smtp-slots "$out/usr/lib/gatewright/smtp-slots"
install -m 0755 instcheck "$out/usr/lib/gatewright/qmail-instcheck"

# The queue is no package file: mail in it must outlive the package. postinst unpacks what is missing of the empty one, and
# gives its folders their owners and modes.
rm -r "$out/var/qmail/queue"
tar -c --numeric-owner --sort=name --mtime=@1000000000 -C /var/qmail \
    -f "$out/usr/share/gatewright/qmail-queue.tar" queue
{ echo /var/qmail && find /var/qmail/queue -type d; } | xargs stat -c '%u:%g %a %n' > "$out/usr/share/gatewright/qmail-folders"

for name in usr/sbin/sendmail usr/lib/sendmail usr/bin/mailq usr/bin/newaliases; do
    ln -s /var/qmail/bin/sendmail "$out/$name"
done
