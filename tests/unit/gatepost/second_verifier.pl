# What Mail::DKIM says of each signature of each message: a line a message. Usage: second_verifier.pl FOLDER, which has the
# messages (*.eml) and, instead of DNS, keys.json: name to record.
use strict;
use warnings;
use JSON::PP qw(decode_json);
use Mail::DKIM::Verifier;
use Net::DNS::RR;

my ($folder) = @ARGV;

sub whole {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return <$file>;
}

my $keys = decode_json(whole("$folder/keys.json"));

sub txt {
    my ( $name, $type ) = @_;
    return unless defined $keys->{$name};
    return Net::DNS::RR->new( name => $name, type => 'TXT', txtdata => [ $keys->{$name} =~ /.{1,255}/g ] );
}

no warnings 'redefine';
*Mail::DKIM::DNS::query = \&txt;
for my $path ( sort glob "$folder/*.eml" ) {
    my $verifier = Mail::DKIM::Verifier->new;
    $verifier->PRINT( whole($path) );
    $verifier->CLOSE;
    print join( '; ', map { $_->result_detail } $verifier->signatures ), "\n";
}
