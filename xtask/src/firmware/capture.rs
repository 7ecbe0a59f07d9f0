//! What a host sent, as `peerdist sim --pcap` kept it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::Result;

/// The block of pcapng that has a frame, and where that begins in it.
const FRAME: u32 = 6;
const FRAME_AT: usize = 28;

/// The ports from which a machine opened connections to the origin, for each of its starts: it begins one by
/// asking for an address.
pub fn ports_by_start(file: &Path, origin: [u8; 4]) -> Result<Vec<BTreeSet<u16>>> {
    let capture = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(starts(&capture, origin))
}

fn starts(capture: &[u8], origin: [u8; 4]) -> Vec<BTreeSet<u16>> {
    let mut starts = vec![BTreeSet::new()];
    for frame in frames(capture) {
        match Opening::of(frame, origin) {
            Some(Opening::Start) if starts.last().is_some_and(|ports| !ports.is_empty()) => {
                starts.push(BTreeSet::new());
            }
            Some(Opening::Connection(port)) => {
                starts.last_mut().map(|ports| ports.insert(port));
            }
            _ => {}
        }
    }
    starts
}

/// What a frame begins.
#[derive(Debug, PartialEq, Eq)]
enum Opening {
    /// It is a question of DHCP's client.
    Start,
    /// It is the first of a connection to the origin, from that port.
    Connection(u16),
}

impl Opening {
    fn of(frame: &[u8], origin: [u8; 4]) -> Option<Self> {
        // Ethernet, then IPv4 with as many words as it says.
        let packet = frame.get(14..).filter(|_| frame.get(12..14) == Some(&[8, 0]))?;
        let segment = packet.get(usize::from(packet.first()? & 15) * 4..)?;
        let port = |at: usize| Some(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?]));
        match packet.get(9)? {
            17 if (port(0)?, port(2)?) == (68, 67) => Some(Self::Start),
            // SYN without ACK.
            6 if segment.get(13)? & 0x12 == 2 && packet.get(16..20)? == origin => {
                Some(Self::Connection(port(0)?))
            }
            _ => None,
        }
    }
}

/// The frames of a capture that was written on a machine of our byte order.
fn frames(mut capture: &[u8]) -> impl Iterator<Item = &[u8]> {
    let blocks = std::iter::from_fn(move || {
        let word = |at: usize| {
            let bytes = capture.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_ne_bytes(bytes))
        };
        let (kind, len) = (word(0)?, word(4)? as usize);
        let kept = word(20).unwrap_or(0) as usize;
        let (block, rest) = capture.split_at_checked(len.max(12))?;
        capture = rest;
        Some((kind, block.get(FRAME_AT..FRAME_AT + kept)))
    });
    blocks.filter(|(kind, _)| *kind == FRAME).filter_map(|(_, frame)| frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: [u8; 4] = [10, 0, 0, 1];

    fn block(kind: u32, frame: &[u8]) -> Vec<u8> {
        let len = (FRAME_AT + frame.len().next_multiple_of(4) + 4) as u32;
        let mut block: Vec<u8> = [kind, len, 0, 0, 0, frame.len() as u32, frame.len() as u32]
            .iter()
            .flat_map(|it| it.to_ne_bytes())
            .collect();
        block.extend(frame);
        block.resize(len as usize - 4, 0);
        block.extend(len.to_ne_bytes());
        block
    }

    /// An IPv4 packet to there on Ethernet, of that protocol.
    fn frame(protocol: u8, to: [u8; 4], segment: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 9, 1]);
        frame.extend(to);
        frame.extend(segment);
        frame
    }

    fn tcp(to: [u8; 4], port: u16, flags: u8) -> Vec<u8> {
        let [high, low] = port.to_be_bytes();
        frame(6, to, &[high, low, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags])
    }

    #[test]
    fn each_start_has_its_ports() {
        let dhcp = frame(17, [255; 4], &[0, 68, 0, 67]);
        let sent = [
            dhcp.clone(),
            dhcp.clone(),
            tcp(ORIGIN, 700, 2),
            // Once more, as it was lost; then what is no beginning, and not to the origin.
            tcp(ORIGIN, 700, 2),
            tcp(ORIGIN, 701, 0x12),
            tcp([10, 0, 1, 1], 702, 2),
            dhcp,
            tcp(ORIGIN, 900, 2),
        ];
        let mut capture = block(0x0a0d_0d0a, &[]);
        sent.iter().for_each(|frame| capture.extend(block(FRAME, frame)));
        assert_eq!(starts(&capture, ORIGIN), [BTreeSet::from([700]), BTreeSet::from([900])]);
        // What is cut off is none.
        assert_eq!(starts(&capture[..capture.len() - 1], ORIGIN), [BTreeSet::from([700]), BTreeSet::new()]);
    }
}
