//! One function per machine: calls its entry points in any order, on bytes, times and random
//! numbers of which nothing is known.
//!
//! Before each call the optimiser is made to [`forget`] the machine's content, so that no proof
//! rests on the order of the calls here, nor on a state that only `new` leaves behind.
//!
//! Covered is every public entry point of the machines named in [`ALL`](crate::codecs::ALL), the
//! whole [`Node`] with all its inputs and API calls among them, over [`RamStore`] and
//! [`SoftCrypto`]. Not covered are `Debug`, `Display` and `defmt` formatting, which the core calls
//! nowhere by itself, and what a caller plugs in: another store, provider or source of entropy.

use core::convert::Infallible;
use core::net::{IpAddr, SocketAddr};

use heapless::{String, Vec};
use peerdist_core::api::client::{Client, Completion, ContentHandle, Parts, Patience, ReadId, Told};
use peerdist_core::api::waiting::{self, Waiting};
use peerdist_core::bytes::Writer;
use peerdist_core::content::publish::{v1, v2};
use peerdist_core::content::segmenter::{SegmentLen, Segmentation, Segmenter};
use peerdist_core::content::{EndForm, InfoSource, SegmentId, server_secret};
use peerdist_core::crypto::{CipherAlgorithm, Digest, HashAlgorithm, Secret, SoftCrypto};
use peerdist_core::discovery::client as probing;
use peerdist_core::discovery::client::ProbeId;
use peerdist_core::discovery::server as answering;
use peerdist_core::discovery::server::Server;
use peerdist_core::discovery::wire::{Availability, Message, parse};
use peerdist_core::discovery::{Replies, Subnet};
use peerdist_core::download::origin::{OriginEvent, OriginStream, Request, Tags, Want};
use peerdist_core::download::{Download, DownloadEvent, Url, Validator};
use peerdist_core::encoding::InfoVersion;
use peerdist_core::fetch::stream::{Answer, Desk, PeerStream};
use peerdist_core::fetch::{self, Ask, Cause, Fetch, Job, JobId, Survey};
use peerdist_core::hosted::server as offered;
use peerdist_core::http::conn::{Conn, Event};
use peerdist_core::node::{
    Config, Counters, HostedCache, Input, Node, Offering, Output, Service, Serving, StreamId,
};
use peerdist_core::retrieval::client::{AcceptPlain, Exchange, SegmentExchange, SegmentStep, Step};
use peerdist_core::retrieval::server::{self, Role};
use peerdist_core::retrieval::set::IndexSet;
use peerdist_core::serve::{self, Upload};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::store::seal::{Sealer, open_at};
use peerdist_core::store::verify::{Expected, Intake, Verifier};
use peerdist_core::store::{BlockId, InfoId, InfoStore, InfoView, SlotId, Store, Stored};
use peerdist_core::time::{Duration, Instant};
use rand_core::{TryCryptoRng, TryRng};

use crate::codecs::{checksum, segments};
use crate::hosted::offers;
use crate::offering::{Listener, places};
use crate::{forget, keep, unknown, unknown_array, unknown_seal, unknown_u32, unknown_u64};

pub(crate) type RamArrays = RamStore<[Page; 20], [Entry; 5], [u8; 700]>;

/// Any random numbers.
pub(crate) struct Entropy;

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(unknown_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(unknown_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.iter_mut().for_each(|byte| *byte = unknown());
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

/// Any address of either family.
pub(crate) fn unknown_address() -> SocketAddr {
    let ip =
        if unknown() == 0 { IpAddr::from(unknown_array::<4>()) } else { IpAddr::from(unknown_array::<16>()) };
    SocketAddr::new(ip, unknown_u32() as u16)
}

pub(crate) fn now() -> Instant {
    Instant::from_micros(unknown_u64())
}

pub(crate) fn duration() -> Duration {
    Duration::from_micros(unknown_u64())
}

pub(crate) fn algorithm() -> HashAlgorithm {
    match unknown() {
        0 => HashAlgorithm::Sha256,
        1 => HashAlgorithm::Sha384,
        2 => HashAlgorithm::Sha512,
        _ => HashAlgorithm::TruncatedSha512,
    }
}

pub(crate) fn form() -> EndForm {
    if unknown() == 0 { EndForm::Zero } else { EndForm::Explicit }
}

fn segment(input: &[u8]) -> Option<SegmentId> {
    SegmentId::from_slice(input.get(..usize::from(unknown()))?)
}

fn block(input: &[u8]) -> Option<BlockId> {
    Some(BlockId { segment: segment(input)?, index: unknown_u32() })
}

fn expected(input: &[u8]) -> Option<Expected> {
    let hash = Digest::from_slice(input.get(..usize::from(unknown()))?)?;
    Some(Expected { algorithm: algorithm(), hash, len: unknown_u32() })
}

fn slot() -> SlotId {
    SlotId { index: unknown_u32(), generation: unknown_u32() }
}

fn stored() -> Stored {
    Stored { slot: slot(), seal: unknown_seal(), len: unknown_u32(), plain_len: unknown_u32() }
}

fn cause() -> Cause {
    match unknown() {
        0 => Cause::NoPeer,
        1 => Cause::NotHeld,
        2 => Cause::Unreachable,
        3 => Cause::TimedOut,
        4 => Cause::BadReply,
        5 => Cause::BadBlock,
        6 => Cause::Broken,
        _ => Cause::StoreFull,
    }
}

fn url(input: &[u8]) -> Option<Url> {
    let mut texts = input.split(|&byte| byte == 0).map(core::str::from_utf8);
    let mut next = || texts.next()?.ok();
    let (host, path) = (String::try_from(next()?).ok()?, String::try_from(next()?).ok()?);
    Some(Url { origin: unknown_address(), host, path })
}

fn want() -> Want {
    if unknown() == 0 { Want::Info } else { Want::Range(unknown_u64()..unknown_u64()) }
}

fn max_info() -> InfoVersion {
    if unknown() == 0 { InfoVersion::V1 } else { InfoVersion::V2 }
}

fn subnets() -> Vec<Subnet, 3> {
    let mut subnets = Vec::new();
    while unknown() == 0 {
        keep(subnets.push(Subnet { address: unknown_address().ip(), prefix: unknown() }));
    }
    subnets
}

fn discovery_config() -> probing::Config {
    let mut config =
        probing::Config { request_timeout: duration(), sends: unknown(), ..probing::Config::default() };
    while unknown() == 0 {
        let subnet = Subnet { address: unknown_address().ip(), prefix: unknown() };
        keep(config.local.push(subnet));
    }
    config
}

pub(crate) fn fetch_config() -> fetch::Config {
    let mut hosted = heapless::Vec::new();
    places().iter().for_each(|place| keep(hosted.push(place.blocks)));
    let cipher = CipherAlgorithm::Aes256;
    fetch::Config { discovery: discovery_config(), hosted, distributed: unknown() > 0, cipher }
}

fn accept_plain() -> AcceptPlain {
    if unknown() == 0 { AcceptPlain::No } else { AcceptPlain::Yes }
}

fn answer_config() -> answering::Config {
    answering::Config { sends: unknown(), crowd: unknown(), max_backoff: duration() }
}

pub(crate) fn ram() -> RamArrays {
    RamStore::new([const { Page::EMPTY }; 20], [const { Entry::EMPTY }; 5], [0; 700])
}

#[inline(never)]
pub(crate) fn publisher_v1(input: &[u8], output: &mut [u8]) {
    let ks = server_secret(&mut SoftCrypto, algorithm(), input);
    keep(v1::Publisher::new(algorithm(), ks.clone(), unknown_u64()).is_ok());
    let publisher = match unknown() {
        0 => v1::Publisher::with_end_form(algorithm(), ks, unknown_u64(), form()),
        _ => v1::Publisher::gather(algorithm(), ks),
    };
    let Ok(mut publisher) = publisher else { return };
    let sink = &mut &mut *output;
    while unknown() > 0 {
        let publisher = forget(&mut publisher);
        if unknown() == 0 {
            keep(publisher.update(&mut SoftCrypto, input, sink));
        } else if let Some(hash) = Digest::from_slice(input) {
            keep(publisher.push_block(&mut SoftCrypto, &hash, unknown_u32(), sink));
        }
        keep((publisher.next_block_len(), publisher.missing()));
    }
    keep(match unknown() {
        0 => publisher.finish(sink),
        _ => publisher.finish_here(&mut SoftCrypto, sink),
    });
    keep(checksum(output));
}

#[inline(never)]
pub(crate) fn publisher_v2(input: &[u8], output: &mut [u8]) {
    let ks = server_secret(&mut SoftCrypto, algorithm(), input);
    let segmentation =
        SegmentLen::new(unknown_u32()).map_or(Segmentation::ContentDefined, Segmentation::Fixed);
    keep(v2::Publisher::new(ks.clone(), segmentation).described());
    let mut publisher = v2::Publisher::with_layout(ks, segmentation, form(), unknown_u32());
    let sink = &mut &mut *output;
    while unknown() > 0 {
        let publisher = forget(&mut publisher);
        if unknown() == 0 {
            keep(publisher.update(&mut SoftCrypto, input, sink));
        } else if let Some(hod) = Digest::from_slice(input) {
            keep(publisher.push_segment(&mut SoftCrypto, &hod, unknown_u32(), sink));
        }
        keep(publisher.described());
    }
    keep(publisher.finish(&mut SoftCrypto, sink));
    keep(checksum(output));
}

#[inline(never)]
pub(crate) fn segmenter(input: &[u8], _: &mut [u8]) {
    let fixed = SegmentLen::new(unknown_u32());
    keep(fixed.map(SegmentLen::get));
    let mut segmenter = Segmenter::new(fixed.map_or(Segmentation::ContentDefined, Segmentation::Fixed));
    while unknown() > 0 {
        let segmenter = forget(&mut segmenter);
        keep(segmenter.push(input));
        keep((segmenter.len(), segmenter.is_empty()));
    }
}

fn keep_event(event: Event<'_>) {
    match event {
        Event::Request { method, target, version } => keep((checksum(method), checksum(target), version)),
        Event::Header { name, value } => keep((checksum(name), checksum(value))),
        Event::Body(body) => keep(checksum(body)),
        Event::Status { version, code } => keep((version, code)),
        Event::HeadEnd(body) => keep(body),
        Event::End => {}
    }
}

#[inline(never)]
pub(crate) fn http_server(input: &[u8], _: &mut [u8]) {
    let mut conn = Conn::server();
    while unknown() > 0 {
        let conn = forget(&mut conn);
        match unknown() {
            0 => keep(conn.next_exchange()),
            1 => keep(conn.handle_eof().map(|event| event.map(keep_event))),
            2 => keep((conn.keep_alive(), conn.wants_continue())),
            _ => {
                let (used, event) = conn.handle(input);
                keep((used, event.map(|event| event.map(keep_event)).map_err(|error| error.status())));
            }
        }
    }
}

#[inline(never)]
pub(crate) fn http_client(input: &[u8], _: &mut [u8]) {
    let mut conn = Conn::client();
    while unknown() > 0 {
        let conn = forget(&mut conn);
        match unknown() {
            0 => keep(conn.expect_reply(unknown() == 0)),
            1 => keep(conn.handle_eof().map(|event| event.map(keep_event))),
            2 => keep((conn.keep_alive(), conn.wants_continue())),
            _ => {
                let (used, event) = conn.handle(input);
                keep((used, event.map(|event| event.map(keep_event))));
            }
        }
    }
}

#[inline(never)]
pub(crate) fn retrieval_exchange(input: &[u8], _: &mut [u8]) {
    let Some(block) = block(input) else { return };
    let accept_plain = if unknown() == 0 { AcceptPlain::No } else { AcceptPlain::Yes };
    let mut exchange = Exchange::with_policy(block, unknown_u32(), accept_plain);
    while unknown() > 0 {
        let exchange = forget(&mut exchange);
        let (used, step) = exchange.handle(input);
        match step {
            Ok(Step::Piece(piece)) => keep(checksum(piece)),
            Ok(Step::Begin { cipher, len }) => keep((cipher, len)),
            Ok(Step::Block(seal)) => keep(seal),
            Ok(Step::Negotiation(range)) => keep(range),
            Ok(Step::Blocks) => exchange.blocks().ranges().for_each(keep),
            Ok(Step::More | Step::Missing) => {}
            Err(error) => keep(error),
        }
        keep((used, exchange.is_done()));
    }
}

#[inline(never)]
pub(crate) fn retrieval_segment_exchange(input: &[u8], output: &mut [u8]) {
    let ids = segments(input);
    let blob = input.get(..unknown_u32() as usize).unwrap_or_default();
    let asked = SegmentExchange::ask(unknown_array(), &ids, blob, &mut Writer::new(output));
    keep(checksum(output));
    let mut exchange = match asked {
        Ok(exchange) => exchange,
        Err(error) => return keep(error),
    };
    while unknown() > 0 {
        let exchange = forget(&mut exchange);
        let (used, step) = exchange.handle(input, &mut |index, age| keep((index, age)));
        match step {
            Ok(SegmentStep::Segments(segments)) => segments.ranges().for_each(keep),
            Ok(SegmentStep::Negotiation(range)) => keep(range),
            Ok(SegmentStep::More) => {}
            Err(error) => keep(error),
        }
        keep((used, exchange.is_done()));
    }
}

#[inline(never)]
pub(crate) fn retrieval_list_exchange(input: &[u8], output: &mut [u8]) {
    let Some(segment) = segment(input) else { return };
    let mut asked = IndexSet::EMPTY;
    asked.insert(unknown_u32());
    let mut exchange = Exchange::list(segment, *forget(&mut asked));
    while unknown() > 0 {
        let exchange = forget(&mut exchange);
        let (used, step) = exchange.handle(input);
        match step {
            Ok(Step::Blocks) => exchange.blocks().ranges().for_each(keep),
            Ok(Step::Negotiation(range)) => keep(range),
            Ok(_) => {}
            Err(error) => keep(error),
        }
        keep((used, exchange.is_done(), exchange.emit(&mut Writer::new(output))));
    }
    keep(checksum(output));
}

fn role() -> Role {
    if unknown() == 0 { Role::Peer } else { Role::HostedCache }
}

#[inline(never)]
pub(crate) fn retrieval_server(input: &[u8], output: &mut [u8]) {
    let mut store = ram();
    let store = forget(&mut store);
    let mut exchange = server::Exchange::new(role());
    while unknown() > 0 {
        forget(&mut exchange).handle(now(), store, input);
    }
    keep(forget(&mut exchange).finish(store, unknown() == 0));
    while unknown() > 0 {
        let reply = forget(&mut exchange);
        keep((reply.len(), reply.is_empty(), reply.block()));
        keep(reply.read(store, output));
        keep(checksum(output));
    }
}

#[inline(never)]
pub(crate) fn ram_store(input: &[u8], output: &mut [u8]) {
    let mut store = ram();
    while unknown() > 0 {
        let store = forget(&mut store);
        match unknown() {
            0 => keep(block(input).map(|block| store.reserve(&block, unknown_u32()))),
            1 => keep(store.write(slot(), unknown_u32(), input)),
            2 => keep(store.read(slot(), unknown_u32(), output)),
            3 => store.release(slot()),
            4 => keep(block(input).and_then(|block| store.find(&block))),
            5 => keep(segment(input).map(|segment| store.blocks(&segment))),
            6 => keep(segment(input).map(|segment| store.next_block(&segment, unknown_u32()))),
            7 => keep(store.create_info()),
            8 => keep(store.append_info(InfoId(unknown()), input)),
            9 => keep(store.info_len(InfoId(unknown()))),
            10 => keep(store.read_info(InfoId(unknown()), unknown_u64(), output)),
            11 => store.remove_info(InfoId(unknown())),
            _ => {
                let view = InfoView { store: &*store, id: InfoId(unknown()) };
                keep((view.len(), view.read_at(unknown_u64(), output)));
            }
        }
        keep(checksum(output));
    }
}

#[inline(never)]
pub(crate) fn seal(input: &[u8], output: &mut [u8]) {
    let Some(kp) = Secret::from_slice(input) else { return };
    let (mut store, mut sealer) = (ram(), Sealer::new(slot(), unknown_seal()));
    while unknown() > 0 {
        let (store, sealer) = (forget(&mut store), forget(&mut sealer));
        match unknown() {
            0 => keep(sealer.update(store, &mut SoftCrypto, &kp, input)),
            1 => keep(sealer.finish(store, &mut SoftCrypto, &kp)),
            2 => keep((sealer.slot(), sealer.seal())),
            _ => {
                keep(open_at(store, &mut SoftCrypto, &kp, &stored(), unknown_u32(), output));
                keep(checksum(output));
            }
        }
    }
}

#[inline(never)]
pub(crate) fn verify(input: &[u8], _: &mut [u8]) {
    let Some(kp) = Secret::from_slice(input) else { return };
    let Some(expected) = expected(input) else { return };
    let mut store = ram();
    let mut intake = Intake::new(&mut SoftCrypto, slot(), unknown_seal(), expected);
    let verifier = Verifier::new(&mut SoftCrypto, slot(), unknown_seal(), unknown_u32(), expected);
    let Ok(mut verifier) = verifier else { return };
    while unknown() > 0 {
        let store = forget(&mut store);
        let (intake, verifier) = (forget(&mut intake), forget(&mut verifier));
        keep(intake.update(store, &mut SoftCrypto, &kp, input));
        keep((intake.slot(), intake.taken()));
        keep(verifier.step(store, &mut SoftCrypto, &kp, unknown_u32()));
    }
}

#[inline(never)]
pub(crate) fn discovery_client(input: &[u8], output: &mut [u8]) {
    let mut client = probing::Client::new(discovery_config());
    let mut probe: Option<ProbeId> = None;
    while unknown() > 0 {
        let client = forget(&mut client);
        match unknown() {
            0 => {
                let ids = segments(input);
                probe = client.probe(now(), &mut Entropy, &ids).ok();
            }
            1 => probe.iter().for_each(|probe| client.cancel(*probe)),
            2 => {
                if let Ok(Message::ProbeMatches(matches)) = parse(input) {
                    client.handle_matches(now(), unknown_address(), &matches, &mut |found| keep(found));
                }
            }
            5 => client.set_addresses(&subnets()),
            6 => probe = client.probe_v2(now(), &mut Entropy, &segments(input)).ok(),
            7 => client.replies(now(), &mut |id, replies| keep((*id, replies))),
            3 => keep(client.poll_transmit(now(), output)),
            4 => keep(client.poll_expired(now())),
            _ => keep((client.poll_timeout(), client.counters())),
        }
        keep(checksum(output));
    }
}

#[inline(never)]
pub(crate) fn discovery_server(input: &[u8], output: &mut [u8]) {
    let mut server = Server::with_config(answer_config(), unknown_u32(), &mut Entropy);
    while unknown() > 0 {
        let server = forget(&mut server);
        match unknown() {
            0 => {
                let have = &mut |_: &SegmentId| unknown_u32();
                if let Ok(Message::Probe(probe)) = parse(input) {
                    server.handle_probe(now(), &mut Entropy, unknown_address(), &probe, have);
                }
            }
            2 => {
                let held = [Availability::Nothing, Availability::Some, Availability::All];
                let have = &mut |_: &SegmentId| answering::Holding {
                    availability: held.get(usize::from(unknown())).copied().unwrap_or_default(),
                    age: (unknown() == 0).then(duration),
                };
                if let Ok(Message::ProbeV2(probe)) = parse(input) {
                    server.handle_probe_v2(now(), &mut Entropy, unknown_address(), &probe, have);
                }
            }
            4 => {
                let replies = Replies { all: unknown(), whole: unknown() };
                segments(input).iter().for_each(|id| server.learn(now(), id, replies));
            }
            3 => server.set_addresses(&subnets()),
            1 => keep(server.poll_transmit(now(), unknown_u32() as u16, output)),
            _ => keep((server.poll_timeout(), server.counters())),
        }
        keep(checksum(output));
    }
}

#[inline(never)]
pub(crate) fn upload(input: &[u8], output: &mut [u8]) {
    let (mut store, mut upload) = (ram(), Upload::new(now(), unknown_address(), role(), unknown() == 0));
    let mut counters = serve::Counters::default();
    let mut tables = offers();
    while unknown() > 0 {
        let (store, upload) = (forget(&mut store), forget(&mut upload));
        match unknown() {
            0 => {
                let (offers, messages, state) = forget(&mut tables);
                let mut server = offered::Server { offers, messages, state };
                let key = offered::Key(unknown_u64());
                let offers = (unknown() > 0).then(|| serve::Offers { desk: &mut server, key });
                keep(upload.handle(now(), store, offers, &mut counters, unknown() == 0, input));
            }
            1 => upload.handle_eof(),
            2 => keep(upload.poll(now(), store, &mut counters, output)),
            5 => keep(upload.gives_way(now())),
            _ => keep((upload.deadline(), upload.is_active(), upload.is_idle(), upload.is_over())),
        }
        keep((upload.wants_input(), counters, checksum(output)));
    }
}

#[inline(never)]
pub(crate) fn fetch(input: &[u8], output: &mut [u8]) {
    let mut store = ram();
    let mut fetch = Fetch::new(fetch_config());
    let mut jobs = [const { Job::FREE }; 3];
    let mut peer = PeerStream::new(now(), unknown_address(), accept_plain());
    let (mut id, mut ask): (Option<JobId>, Option<Ask>) = (None, None);
    while unknown() > 0 {
        let (fetch, jobs, peer) = (forget(&mut fetch), forget(&mut jobs), forget(&mut peer));
        let (store, crypto) = (forget(&mut store), &mut SoftCrypto);
        let (id, ask) = (forget(&mut id), forget(&mut ask));
        let mut answer = None;
        match unknown() {
            0 => {
                let wanted = block(input).zip(expected(input)).zip(Secret::from_slice(input));
                *id = wanted.and_then(|((block, expected), kp)| {
                    fetch.want(now(), jobs, block, expected, unknown() > 0, &kp)
                });
            }
            1 => keep(id.and_then(|id| Fetch::outcome(jobs, id))),
            2 => id.iter().for_each(|id| Fetch::cancel(store, jobs, *id)),
            3 => keep(ask.map(|ask| fetch.is_awaited(jobs, &ask))),
            4 => keep(fetch.work(now(), jobs, store, crypto, &mut Entropy)),
            5 => *ask = fetch.next_ask(now(), jobs, &mut Entropy, &|_| unknown() > 0),
            6 => ask.iter().for_each(|ask| fetch.not_carried(now(), jobs, ask)),
            7 => {
                if let Ok(peerdist_core::discovery::wire::Message::ProbeMatches(matches)) =
                    peerdist_core::discovery::wire::parse(input)
                {
                    fetch.handle_matches(now(), unknown_address(), &matches, &|_| unknown() == 0);
                }
            }
            8 => keep((fetch.poll_timeout(), fetch.probe_counters(), fetch.counters)),
            9 => keep(fetch.discovery().poll_transmit(now(), output)),
            10 => peer.handle_connected(now()),
            11 => keep(ask.map(|ask| peer.ask(now(), &ask))),
            12 => keep((peer.poll(output), checksum(output))),
            13 => {
                let desk = &mut Desk { fetch, jobs, store, crypto, rng: &mut Entropy };
                let (used, came) = peer.handle(now(), desk, input);
                keep(used);
                answer = came;
            }
            14 => answer = peer.handle_eof(now(), store),
            15 => answer = peer.give_up(store, cause()),
            16 => answer = Some(Answer::Sealed { slot: slot(), seal: unknown_seal(), len: unknown_u32() }),
            17 => fetch.set_us(Some(unknown_address())),
            18 => fetch.set_hosted(&[unknown_address(), unknown_address()]),
            19 => {
                let id = SegmentId::from_slice(input);
                let survey = id.map(|id| fetch.survey(now(), &id, algorithm(), unknown_u32(), now()));
                let held = |survey: &Survey| survey.held.contains(unknown_u32());
                keep(survey.map(|survey| (held(&survey), survey.anybody, survey.settled, survey.again)));
            }
            20 => {
                SegmentId::from_slice(input)
                    .iter()
                    .for_each(|id| fetch.heard(now(), unknown_address().ip(), id));
                let crowd = |id| fetch.crowd(now(), &id, duration()).turn(unknown_u32());
                keep((SegmentId::from_slice(input).map(crowd), fetch.news()));
            }
            21 => answer = Some(Answer::Taken),
            23 => SegmentId::from_slice(input).iter().for_each(|id| fetch.end_survey(id)),
            22 => {
                let mut writer = Writer::new(output);
                writer.text(cause().as_str());
                keep(writer.check());
            }
            _ => keep((peer.peer(), peer.is_idle(), peer.asks(), peer.deadline(), peer.keeps_open())),
        }
        keep(peer.timeout_cause());
        if let (Some(ask), Some(answer)) = (*ask, answer) {
            fetch.answered(now(), jobs, store, crypto, &ask, answer);
        }
    }
}

fn keep_origin(event: OriginEvent<'_>) {
    match event {
        OriginEvent::Info(bytes) | OriginEvent::Plain(bytes) => keep(checksum(bytes)),
        OriginEvent::Data { bytes, .. } => keep(checksum(bytes)),
        _ => {}
    }
}

fn with_request<T>(input: &[u8], run: impl FnOnce(&Request<'_>) -> T) -> Option<T> {
    let condition = &Validator::from_slice(input).ok()?;
    Some(run(&Request { url: &url(input)?, max_info: max_info(), condition }))
}

#[inline(never)]
pub(crate) fn origin(input: &[u8], output: &mut [u8]) {
    let (mut origin, mut tags) = (OriginStream::new(now()), Tags::default());
    while unknown() > 0 {
        let (origin, tags) = (forget(&mut origin), forget(&mut tags));
        match unknown() {
            0 => keep(with_request(input, |request| {
                origin.ask(now(), request, &want(), Some(u64::from(unknown())), unknown() > 0)
            })),
            1 => origin.handle_connected(now()),
            2 => keep((with_request(input, |request| origin.poll(request, output)), checksum(output))),
            3 => keep(origin.handle_eof(now()).map(|event| event.map(keep_origin))),
            4 => keep((origin.take_want(), origin.broken(unknown() > 0).is_final())),
            5 => keep((origin.want().cloned(), origin.has_failed(), origin.deadline(), origin.keeps_open())),
            _ => {
                let (used, event) = origin.handle(now(), tags, None, input);
                keep((used, event.map(|event| event.map(keep_origin))));
            }
        }
    }
}

/// What a client and a download work with.
pub(crate) struct Machine {
    store: RamArrays,
    fetch: Fetch,
    jobs: [Job; 3],
    client: Client,
    entropy: Entropy,
    crypto: SoftCrypto,
    listener: Listener,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            store: ram(),
            fetch: Fetch::new(fetch_config()),
            jobs: [const { Job::FREE }; 3],
            client: Client::new(1),
            entropy: Entropy,
            crypto: SoftCrypto,
            listener: Listener,
        }
    }

    pub(crate) fn parts(&mut self) -> (&mut Client, Parts<'_>) {
        let Self { store, fetch, jobs, client, entropy, crypto, listener } = self;
        let cipher = unknown_seal().algorithm;
        let told: Option<&mut dyn Told> = if unknown() > 0 { Some(listener) } else { None };
        (client, Parts { storage: store, crypto, rng: entropy, fetch, jobs, cipher, told })
    }
}

#[inline(never)]
pub(crate) fn download(input: &[u8], output: &mut [u8]) {
    let Some(url) = url(input) else { return };
    let (mut machine, mut download) =
        (Machine::new(), Download::new(now(), url, unknown_u64()..unknown_u64()));
    let mut origin = OriginStream::new(now());
    let mut completion: Option<Completion> = None;
    while unknown() > 0 {
        let (download, origin) = (forget(&mut download), forget(&mut origin));
        let (client, mut parts) = forget(&mut machine).parts();
        let parts = &mut parts;
        match unknown() {
            0 => keep(download.work(now(), client, parts)),
            1 => {
                if let Some(need) = download.need(now(), client, parts) {
                    keep(download.ask(now(), origin, max_info(), &need));
                }
            }
            2 => keep(download.handle_origin(now(), origin, client, parts, input)),
            9 => keep(download.dropped(client, parts).map(|start| origin.asks_from(start))),
            3 => keep(download.handle_origin_eof(now(), origin, client, parts)),
            4 => {
                let failure = origin.broken(unknown() > 0);
                keep(download.origin_failed(now(), origin.take_want(), failure, client, parts));
            }
            5 => keep((download.poll_data(client, parts, output), checksum(output))),
            6 => download.cancel(client, parts),
            10 => download.put_back(&want(), client, parts),
            12 => keep((download.poll_origin(origin, max_info(), output), checksum(output))),
            13 => keep(Validator::from_slice(input).map(|told| download.resume(&told))),
            14 => keep((download.has_event(), download.poll_event(client, parts))),
            7 => {
                keep(client.work(now(), parts, &mut |_, ended| completion = Some(ended)));
            }
            8 => {
                if let Some(completion) = forget(&mut completion).take() {
                    download.handle_completion(now(), client, &completion);
                }
            }
            11 => keep((download.poll_moved(output), checksum(output))),
            _ => keep((download.is_over(), download.is_plain(), download.reads_under_way())),
        }
        keep(download.poll_timeout(now()));
        keep(completion.as_ref().map(|completion| download.owns(completion.read)));
    }
}

fn patience() -> Patience {
    match unknown() {
        0 => Patience::For(duration()),
        1 => Patience::from_millis(unknown_u32()),
        _ => Patience::Endless,
    }
}

#[inline(never)]
pub(crate) fn api_client(input: &[u8], output: &mut [u8]) {
    let mut machine = Machine::new();
    let mut pages = [const { waiting::Page::EMPTY }; 4];
    let mut content: Option<ContentHandle> = None;
    let mut read: Option<ReadId> = None;
    while unknown() > 0 {
        let pages = forget(&mut pages);
        let (client, mut parts) = forget(&mut machine).parts();
        let parts = &mut parts;
        if unknown() == 0 {
            keep(client.work(now(), parts, &mut |_, completion| read = Some(completion.read)));
            keep(client.poll_timeout());
        }
        if unknown() == 0 {
            content = client.open_content(parts.storage, unknown_array()).ok();
        }
        if let Some(read) = *forget(&mut read) {
            keep(client.copy_read(parts.storage, parts.crypto, read, unknown_u64(), output));
            keep(checksum(output));
            client.end_read(parts, read);
        }
        let Some(content) = *forget(&mut content) else { continue };
        match unknown() {
            0 => keep(client.close_content(content, parts)),
            1 => keep(client.add_content_information(parts.storage, content, input)),
            2 => keep(client.complete_content_information(parts.storage, content)),
            3 => keep(client.is_ready(content).map(|info| info.cloned())),
            4 => keep(client.block_read(now(), content, unknown_u64(), unknown_u64(), patience())),
            5 => keep(client.stream_read(now(), content, unknown_u64(), patience())),
            6 => keep(client.add_data(parts, content, unknown_u64(), input)),
            8 => keep(client.add_anywhere(parts, &mut Waiting::new(pages), content, unknown_u64(), input)),
            9 => Waiting::new(pages).close(content),
            10 => Waiting::new(pages).flush(unknown_array()),
            11 => keep(client.settle(parts, &mut Waiting::new(pages))),
            7 => client.drop_data(parts.storage, content, unknown_u64()),
            _ => keep(client.segment(parts.storage, content, unknown_u32())),
        }
    }
}

fn keep_output(output: Output<'_>) {
    match output {
        Output::Datagram { to, data } => keep((to, checksum(data))),
        Output::Data { download, offset, data } => keep((download, offset, checksum(data))),
        Output::Moved { download, location } => keep((download, checksum(location))),
        Output::Connect { stream, remote, purpose } => keep((stream, remote, purpose)),
        Output::Close { stream } | Output::Abort { stream } | Output::Resume { stream } => keep(stream),
        Output::Download { download, event: DownloadEvent::Failed(error) } => keep((download, error)),
        Output::Download { download, event } => keep((download, event)),
    }
}

#[inline(never)]
pub(crate) fn node(input: &[u8], output: &mut [u8]) {
    node_that::<Serving>(input, output);
}

#[inline(never)]
pub(crate) fn hosted_cache(input: &[u8], output: &mut [u8]) {
    node_that::<HostedCache<3, 2>>(input, output);
}

#[inline(never)]
pub(crate) fn offering(input: &[u8], output: &mut [u8]) {
    node_that::<Offering<3>>(input, output);
}

fn node_that<P: Service>(input: &[u8], output: &mut [u8]) {
    let config = Config {
        accept_plain: accept_plain(),
        distributed: unknown() > 0,
        hosted_caches: places(),
        port: unknown_u32() as u16,
        instance_id: unknown_u32(),
        max_uploads: unknown_u32() as usize,
        reserved_streams: unknown_u32() as usize,
        cipher: unknown_seal().algorithm,
        content_information: max_info(),
        discovery: discovery_config(),
        answer: answer_config(),
    };
    let mut node: Node<RamArrays, SoftCrypto, Entropy, 6, 4, 2, P> =
        Node::new(config, ram(), SoftCrypto, Entropy);
    let (mut content, mut read, mut download) = (None, None, None);
    while unknown() > 0 {
        let node = forget(&mut node);
        let stream = StreamId { index: unknown_u32() as u16, generation: unknown_u32() };
        match unknown() {
            0 => keep(node.handle_input(now(), Input::Timeout)),
            1 => keep(node.handle_input(now(), Input::Datagram { from: unknown_address(), data: input })),
            2 => keep(node.handle_input(now(), Input::Connected { stream })),
            3 => keep(node.handle_input(now(), Input::Data { stream, data: input })),
            4 => keep(node.handle_input(now(), Input::Eof { stream })),
            5 => keep(node.handle_input(now(), Input::Lost { stream })),
            16 => keep(node.handle_input(now(), Input::NoSocket { stream })),
            6 => keep(node.poll_output(now(), output).map(keep_output)),
            7 => keep((node.poll_stream(now(), stream, output), checksum(output))),
            8 => keep(node.poll_timeout(now())),
            9 => keep(node.accept(now(), unknown_address())),
            19 => keep(node.accept_secured(now(), unknown_address())),
            21 => keep(node.offers().map(|offers| (offers.has_news(), offers.state.counters))),
            22 => node.sent_again(now(), stream),
            20 => keep(node.hosted().map(|state| (state.poll_unreachable(), state.counters))),
            10 => node.set_addresses(&subnets()),
            17 => {
                let (range, told) = (unknown_u64()..unknown_u64(), Validator::from_slice(input).ok());
                let both = url(input).zip(told);
                download = both.and_then(|(url, told)| node.download_rest(now(), url, range, told));
            }
            18 => keep(download.map(|download| node.validator(download).map(|told| checksum(told)))),
            11 => {
                let range = unknown_u64()..unknown_u64();
                download = url(input).and_then(|url| node.download_range(now(), url, range));
            }
            12 => keep(forget(&mut download).map(|download| node.cancel_download(download))),
            13 => content = node.open_content(unknown_array()).ok(),
            14 => read = node.poll_completion().map(|completion| completion.read),
            15 => {
                let counters: Counters = node.counters();
                keep((counters, node.config().port));
            }
            _ => {}
        }
        if let Some(read) = *forget(&mut read) {
            keep((node.copy_read(read, unknown_u64(), output), checksum(output)));
            node.end_read(read);
        }
        let Some(content) = *forget(&mut content) else { continue };
        match unknown() {
            0 => keep(node.close_content(content)),
            1 => keep(node.add_content_information(content, input)),
            2 => keep(node.complete_content_information(content)),
            3 => keep(node.is_ready(content)),
            4 => keep(node.block_read(now(), content, unknown_u64(), unknown_u64(), duration())),
            5 => keep(node.stream_read(now(), content, unknown_u64(), duration())),
            _ => keep(node.add_data(content, unknown_u64(), input)),
        }
    }
}
