//! Startup packets, then the password messages of a SCRAM-SHA-256 exchange.
//!
//! Checked: any chunking gives the same packets; a StartupMessage that is understood can be written and reads the same;
//! no bytes that were made without the password are accepted.

use bytes::BytesMut;
use countersign_protocol::scram::{Binding, Exchange, Verifier};
use countersign_protocol::startup::{
    PacketError, STARTUP_PACKET_MAX, StartupPacket, decode_packet, decode_password_message, encode_packet,
    sasl_initial_response,
};

const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

/// See the module documentation.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    let (packets, ended, rest) = packets_in(stream, usize::MAX);
    let (in_pieces, ended_in_pieces, _) = packets_in(stream, usize::from(*piece % 16) + 1);
    assert_eq!((&packets, &ended), (&in_pieces, &ended_in_pieces), "another chunking gives other packets");
    for packet in &packets {
        written_again(packet);
    }
    exchange(rest);
}

type Packets = (Vec<StartupPacket>, Option<PacketError>, BytesMut);

/// All packets up to the StartupMessage, and what follows it.
fn packets_in(stream: &[u8], piece: usize) -> Packets {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for (index, chunk) in stream.chunks(piece).enumerate() {
        buffer.extend_from_slice(chunk);
        loop {
            match decode_packet(&mut buffer) {
                Ok(Some(packet)) => {
                    let is_last = matches!(packet, StartupPacket::StartupMessage(_));
                    found.push(packet);
                    if is_last {
                        stream.chunks(piece).skip(index + 1).for_each(|chunk| buffer.extend_from_slice(chunk));
                        return (found, None, buffer);
                    }
                }
                Ok(None) => break,
                Err(error) => return (found, Some(error), BytesMut::new()),
            }
        }
    }
    (found, None, BytesMut::new())
}

fn written_again(packet: &StartupPacket) {
    let StartupPacket::StartupMessage(message) = packet else { return };
    if message.needs_negotiation() {
        return;
    }
    let Ok(mut bytes) = encode_packet(packet.clone()) else { return };
    assert!(bytes.len() <= STARTUP_PACKET_MAX, "as long as it came");
    assert_eq!(decode_packet(&mut bytes), Ok(Some(packet.clone())), "written again");
    assert!(bytes.is_empty());
}

fn exchange(mut stream: BytesMut) {
    let Ok(Some(body)) = decode_password_message(&mut stream) else { return };
    let Ok((mechanism, first)) = sasl_initial_response(&body) else { return };
    let binding = match mechanism {
        "SCRAM-SHA-256-PLUS" => Binding::EndPoint(&[7; 32]),
        "SCRAM-SHA-256" => Binding::Declined,
        _ => Binding::NotOffered,
    };
    let Ok(verifier) = Verifier::parse(VERIFIER) else { unreachable!("a verifier of PostgreSQL's form") };
    let Ok(exchange) = Exchange::begin(verifier, binding, &first, "server+nonce") else { return };
    assert!(exchange.server_first().contains("server+nonce"), "the server's nonce is in its message");
    let Ok(Some(body)) = decode_password_message(&mut stream) else { return };
    assert!(exchange.finish(&body).is_err(), "a proof without the password");
}
