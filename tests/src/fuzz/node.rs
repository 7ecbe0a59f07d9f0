//! A whole node, led by a list of operations: what the network, the application and the clock may do to it, in
//! any order and with any bytes.
//!
//! The world around it (`world`) answers what the node asks, if an operation says so; here is what the
//! operations are.

mod world;

use peerdist_core::node::Input;
use peerdist_core::time::Duration;

use self::world::World;

/// Operations of one run.
const MAX_OPS: usize = 400;

/// Bit of an operation's byte: the node is not drained after it.
const UNDRAINED: u8 = 0x80;

/// What the other bits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Op {
    /// So many doublings of a microsecond pass.
    Wait,
    /// Time passes until the node wants to be called.
    Sleep,
    /// A datagram comes: from whom, a length of two bytes, and its bytes.
    Datagram,
    /// The latest probe is answered: by which holder.
    Matches,
    /// Somebody probes for a content that we know.
    Probe,
    /// Somebody connects.
    Accept,
    /// What was asked for is open: which.
    Connected,
    /// A connection is lost: which.
    Lost,
    /// There is no socket: for which.
    NoSocket,
    /// The other side is done: on which.
    Eof,
    /// Bytes come: on which, a length of two bytes, and the bytes.
    Data,
    /// A proper question is on its way to us: on which, for which block.
    Ask,
    /// What is on its way comes: on which; of how many bytes, and which is changed by what.
    Feed,
    /// The node is asked for an output once: a 16th of the buffer.
    Output,
    /// It is asked for what a stream sends once: which, and the buffer.
    Stream,
    /// A download begins.
    Download,
    /// It ends early: which.
    Cancel,
    /// Right content information is opened: of which content.
    Open,
    /// Any is opened: a length of two bytes, and its bytes.
    OpenRaw,
    /// A read begins: of which handle, which block, and how long it may take.
    Read,
    /// The same, in a row.
    ReadOn,
    /// A read is ended: which.
    EndRead,
    /// Data from the origin are added: to which handle, which block; of how many bytes, and which is changed by
    /// what.
    AddData,
    /// A handle is closed: which.
    Close,
    /// Our address comes and goes.
    Address,
    /// The read of the store after so many others finds a rotten block.
    Rot,
    /// How the origin answers from now on.
    Manner,
    /// All blocks are dropped.
    Forget,
    /// Completed reads are looked at.
    Completions,
}

impl Op {
    const ALL: [Self; 29] = [
        Self::Wait,
        Self::Sleep,
        Self::Datagram,
        Self::Matches,
        Self::Probe,
        Self::Accept,
        Self::Connected,
        Self::Lost,
        Self::NoSocket,
        Self::Eof,
        Self::Data,
        Self::Ask,
        Self::Feed,
        Self::Output,
        Self::Stream,
        Self::Download,
        Self::Cancel,
        Self::Open,
        Self::OpenRaw,
        Self::Read,
        Self::ReadOn,
        Self::EndRead,
        Self::AddData,
        Self::Close,
        Self::Address,
        Self::Rot,
        Self::Manner,
        Self::Forget,
        Self::Completions,
    ];
}

/// Whatever happens to a node: it never panics, comes to rest, keeps nothing that is not verified, serves and
/// hands out nothing else, and once it is left alone gives back all that it has taken.
pub fn node(data: &[u8]) {
    let mut world = World::new();
    let mut bytes = Bytes(data);
    for _ in 0..MAX_OPS {
        let Some(byte) = bytes.next() else { break };
        step(&mut world, byte, &mut bytes);
    }
    // Silence takes eight times as long to run.
    world.rest(data.len().is_multiple_of(8));
}

fn step(world: &mut World, byte: u8, bytes: &mut Bytes<'_>) {
    let op = Op::ALL[usize::from(byte & !UNDRAINED) % Op::ALL.len()];
    match op {
        Op::Wait => world.pass(Duration::from_micros(1 << (bytes.byte() % 28))),
        Op::Sleep => world.sleep(),
        Op::Datagram => {
            let from = bytes.byte();
            world.datagram(from, bytes.counted());
        }
        Op::Matches => world.answer_probe(bytes.byte()),
        Op::Probe => world.probe(bytes.byte()),
        Op::Accept => world.accept(),
        Op::Connected => world.with_stream(bytes.byte(), |stream| Input::Connected { stream }),
        Op::Lost => world.with_stream(bytes.byte(), |stream| Input::Lost { stream }),
        Op::NoSocket => world.with_stream(bytes.byte(), |stream| Input::NoSocket { stream }),
        Op::Eof => world.with_stream(bytes.byte(), |stream| Input::Eof { stream }),
        Op::Data => {
            let (which, data) = (bytes.byte(), bytes.counted());
            world.with_stream(which, |stream| Input::Data { stream, data });
        }
        Op::Ask => world.ask(bytes.byte(), bytes.byte()),
        Op::Feed => world.feed(bytes.byte(), bytes.piece()),
        Op::Output => _ = world.output(usize::from(bytes.byte()) * 16),
        Op::Stream => world.stream(bytes.byte(), bytes.byte().into()),
        Op::Download => world.download(),
        Op::Cancel => world.cancel(bytes.byte()),
        Op::Open => world.open(bytes.byte()),
        Op::OpenRaw => world.open_raw(bytes.counted()),
        Op::Read => world.read(bytes.byte(), Some(bytes.byte()), bytes.byte()),
        Op::ReadOn => world.read(bytes.byte(), None, bytes.byte()),
        Op::EndRead => world.end_read(bytes.byte()),
        Op::AddData => world.add_data(bytes.byte(), bytes.byte(), bytes.piece()),
        Op::Close => world.close(bytes.byte()),
        Op::Address => world.toggle_address(),
        Op::Rot => world.rot(bytes.byte()),
        Op::Manner => world.manner(bytes.byte()),
        Op::Forget => world.forget(),
        Op::Completions => world.completions(),
    }
    if byte & UNDRAINED == 0 {
        world.drain();
    }
    world.check();
}

/// Bytes of some length, of which one is changed.
#[derive(Clone, Copy)]
struct Piece {
    len: usize,
    at: usize,
    xor: u8,
}

/// What is left of the operations; zeros behind their end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn word(&mut self) -> usize {
        u16::from_le_bytes([self.byte(), self.byte()]).into()
    }

    fn counted(&mut self) -> &'a [u8] {
        let len = self.word().min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    fn piece(&mut self) -> Piece {
        Piece { len: self.word(), at: self.word(), xor: self.byte() }
    }
}

/// Exchanges that go well, as operations.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let operation = |op: Op, operands: &[u8]| [&[op as u8], operands].concat();
    let all_of = |block: u8| operation(Op::AddData, &[0, block, 0xff, 0xff, 0, 0, 0]);
    // What the network does is recorded; what the application wants is given.
    let from_origin = record(&[operation(Op::Download, &[])], false);
    let from_peer = record(&[operation(Op::Download, &[])], true);
    let reads = [0, 1].map(|block| operation(Op::Read, &[0, block, 23]));
    let reading =
        record(&[operation(Op::Open, &[1]), reads.concat(), operation(Op::Read, &[0, 9, 23])], true);
    let mut serving = vec![operation(Op::Open, &[1]), all_of(0), all_of(1), operation(Op::Probe, &[1])];
    serving.extend([operation(Op::Accept, &[]), operation(Op::Ask, &[0, 1]), operation(Op::Ask, &[0, 2])]);
    let serving = record(&serving, false);
    // And a datagram and a stream of bytes as they are.
    let raw = |op: Op, bytes: &[u8]| {
        let len = (bytes.len() as u16).to_le_bytes();
        operation(op, &[&[0][..], &len, bytes].concat())
    };
    let datagram = raw(Op::Datagram, include_bytes!("../../vectors/own-probematches.xml"));
    let request = raw(Op::Data, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    let words = [datagram, operation(Op::Accept, &[]), request].concat();
    vec![from_origin, from_peer, reading, serving, words]
}

/// `begin`, and then whatever the network has to do, until nothing more happens.
fn record(begin: &[Vec<u8>], holders: bool) -> Vec<u8> {
    let (mut world, mut recorded) = (World::new(), Vec::new());
    let apply = |world: &mut World, recorded: &mut Vec<u8>, operation: &[u8]| {
        recorded.extend(operation);
        let mut bytes = Bytes(operation);
        while let Some(byte) = bytes.next() {
            step(world, byte, &mut bytes);
        }
    };
    begin.iter().for_each(|operation| apply(&mut world, &mut recorded, operation));
    for _ in 0..MAX_OPS / 2 {
        let operation = if let Some(which) = world.unconnected() {
            vec![Op::Connected as u8, which]
        } else if let Some(which) = world.unfed() {
            vec![Op::Feed as u8, which, 0xff, 0xff, 0, 0, 0]
        } else if holders && world.unanswered() {
            vec![Op::Matches as u8, 0]
        } else if world.is_working() {
            vec![Op::Sleep as u8]
        } else {
            break;
        };
        apply(&mut world, &mut recorded, &operation);
    }
    apply(&mut world, &mut recorded, &[Op::Completions as u8]);
    assert!(world.is_satisfied(), "a seed is an exchange that goes well");
    recorded
}
