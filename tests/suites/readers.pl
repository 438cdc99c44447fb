# Takes paths of messages from standard input, one a line, and prints for each one line of JSON:
# [[name, content in base64], ...], as the reader that the command line names (MIME::Parser or Email::MIME) gives it.
use strict;
use warnings;
use JSON::PP;
use MIME::Base64 qw(encode_base64);

my $reader = shift @ARGV or die "usage: readers.pl MIME::Parser|Email::MIME\n";
eval "require $reader; 1" or die "no $reader\n";
$| = 1;

sub by_parser {
    my ($raw) = @_;
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->extract_uuencode(1);
    $parser->decode_bodies(1);
    my @found;
    my @waiting = ($parser->parse_data($raw));
    while (my $entity = shift @waiting) {
        push @waiting, $entity->parts;
        my $body = $entity->bodyhandle or next;
        push @found, [$entity->head->recommended_filename, $body->as_string];
    }
    return @found;
}

sub by_email_mime {
    my ($raw) = @_;
    my @found;
    Email::MIME->new($raw)->walk_parts(sub {
        my ($part) = @_;
        return if $part->subparts;
        push @found, [$part->filename, $part->body];
    });
    return @found;
}

while (my $path = <STDIN>) {
    chomp $path;
    open my $file, '<:raw', $path or die "$path: $!\n";
    my $raw = do { local $/; <$file> };
    my @found = eval { local $SIG{__WARN__} = sub { }; $reader eq 'MIME::Parser' ? by_parser($raw) : by_email_mime($raw) };
    my @shown = map { my ($name, $body) = @$_; utf8::encode($body) if utf8::is_utf8($body);
        [defined $name ? "$name" : '', encode_base64($body // '', '')] } @found;
    print encode_json(\@shown), "\n";
}
