//! One function per codec: calls every entry point on bytes of which nothing is known.
//!
//! To add a codec, write a function below and name it in [`ALL`]. Feed it `input`, let it emit
//! into `output`, walk everything it returns, accessors too, and hand results to [`keep`]. What
//! has a state that calls leave behind goes into [`machines`](crate::machines).

use peerdist_core::ages::{Ages, AgesRepr, MAX_BLOB_BYTES, blob_bytes};
use peerdist_core::bytes::{Reader, Writer, copy, decode_hex, hex_value, parse_decimal, path_of};
use peerdist_core::content::hash_file::{
    Answer, Dialect, HashFile, HashLevel, ReadHash, Reply, wire as hash_wire,
};
use peerdist_core::content::secret_key;
use peerdist_core::content::{
    Gathered, HodCheck, Info, InfoSink, InfoSource, Progress, Segment, SegmentId, Version, apart_id,
    emit_empty, gathered_front, parse_empty, segment_id, segment_secret, server_secret, v1, v2,
};
use peerdist_core::crypto::{CipherAlgorithm, Crypto, Digest, HashAlgorithm, Secret, SoftCrypto, hash};
use peerdist_core::discovery::wire::{
    Availabilities, Availability, Message, MessageId, ProbeMatchesRepr, ProbeMatchesV2Repr, ProbeRepr,
    ProbeV2Repr, Scope, Uuid, parse as parse_datagram,
};
use peerdist_core::discovery::xml::{Event, Text, Tokenizer};
use peerdist_core::encoding::{
    Available, Coding, InfoVersion, ReplyCoding, ServerRequest, emit_ask, emit_hash_request,
    emit_missing_data,
};
use peerdist_core::hosted::wire as hosted;
use peerdist_core::http::select::{Selection, Validators};
use peerdist_core::http::{date, wire as http};
use peerdist_core::retrieval::set::IndexSet;
use peerdist_core::retrieval::wire as retrieval;
use peerdist_core::time::Duration;

use crate::machines::{algorithm, form};
use crate::{forget, keep, machines, unknown_array, unknown_seal, unknown_u32, unknown_u64};

/// What reads bytes from the outside (the first slice) and writes into lent memory (the second).
/// Both have any content and any length.
pub type Codec = fn(&[u8], &mut [u8]);

/// Every codec and machine of the core.
pub static ALL: &[Codec] = &[
    bytes_reader,
    bytes_writer,
    bytes_text,
    crypto_hash,
    crypto_hmac,
    crypto_cbc,
    content_ids,
    content_source,
    content_info,
    content_info_versions,
    content_gathered,
    content_empty,
    content_v1_wire,
    content_v2_wire,
    content_secret_key,
    content_hash_wire,
    content_hash_file,
    discovery_xml,
    discovery_parse,
    discovery_probe,
    discovery_matches,
    discovery_matches_v2,
    ages,
    encoding_server,
    encoding_client,
    http_parse,
    http_emit,
    http_select,
    hosted_wire,
    retrieval_request,
    retrieval_reply,
    retrieval_emit,
    retrieval_set,
    machines::publisher_v1,
    machines::publisher_v2,
    machines::segmenter,
    machines::http_server,
    machines::http_client,
    machines::retrieval_exchange,
    machines::retrieval_list_exchange,
    machines::retrieval_segment_exchange,
    machines::retrieval_server,
    machines::ram_store,
    machines::seal,
    machines::verify,
    machines::discovery_client,
    machines::discovery_server,
    machines::upload,
    machines::fetch,
    machines::origin,
    machines::download,
    machines::api_client,
    machines::node,
    crate::hosted::hosted_server,
    machines::hosted_cache,
    crate::offering::hosted_client,
    machines::offering,
    crate::api::api,
    #[cfg(feature = "control")]
    control,
];

/// The control: must keep the program from linking.
#[cfg(feature = "control")]
fn control(input: &[u8], _: &mut [u8]) {
    keep(input[0]);
}

#[inline(never)]
fn bytes_reader(input: &[u8], _: &mut [u8]) {
    let mut reader = Reader::new(input);
    keep(reader.u8());
    keep(reader.u16_le());
    keep(reader.u32_le());
    keep(reader.u64_le());
    keep(reader.u32_be());
    keep(reader.u64_be());
    keep(reader.array::<7>().copied());
    let len = reader.u8().map_or(0, usize::from);
    keep(reader.take(len).map(checksum));
    keep(reader.take(usize::MAX).map(checksum));
    keep((reader.offset(), checksum(reader.rest())));
}

#[inline(never)]
fn bytes_writer(input: &[u8], output: &mut [u8]) {
    let mut reader = Reader::new(input);
    let mut writer = Writer::new(output);
    let number = reader.u64_le().unwrap_or_default();
    writer.u16_le(number as u16);
    writer.u32_le(number as u32);
    writer.u64_le(number);
    writer.u32_be(number as u32);
    writer.u64_be(number);
    writer.decimal(number);
    writer.zeros(number as usize);
    writer.hex_upper(reader.rest());
    writer.put(reader.rest());
    if let Ok(text) = core::str::from_utf8(reader.rest()) {
        writer.text(text);
    }
    keep((writer.len(), writer.is_empty(), writer.check(), writer.end()));
    keep(checksum(writer.finish()));
}

#[inline(never)]
fn bytes_text(input: &[u8], output: &mut [u8]) {
    keep(parse_decimal(input));
    keep(copy(output, input));
    keep(input.first().copied().map(hex_value));
    keep(checksum(path_of(input)));
    keep(decode_hex(input, output).map(checksum));
}

#[inline(never)]
fn crypto_hash(input: &[u8], _: &mut [u8]) {
    for algorithm in algorithms() {
        let mut state = SoftCrypto.hash_start(algorithm);
        for piece in input.split(|&byte| byte == 0) {
            SoftCrypto.hash_update(&mut state, piece);
        }
        keep(SoftCrypto.hash_finish(state.clone()));
        keep(checksum(hash(&mut SoftCrypto, algorithm, input).as_bytes()));
    }
    keep(Digest::from_slice(input));
    keep(Secret::from_slice(input).map(|secret| secret == secret.clone()));
}

#[inline(never)]
fn crypto_hmac(input: &[u8], output: &mut [u8]) {
    for algorithm in algorithms() {
        keep(SoftCrypto.hmac(algorithm, input, &[output, input]));
    }
}

#[inline(never)]
fn crypto_cbc(input: &[u8], output: &mut [u8]) {
    let Some(kp) = Secret::from_slice(input) else { return };
    let Some(mut chain) = input.first_chunk().copied() else { return };
    let (blocks, _) = output.as_chunks_mut::<16>();
    for algorithm in
        [CipherAlgorithm::None, CipherAlgorithm::Aes128, CipherAlgorithm::Aes192, CipherAlgorithm::Aes256]
    {
        keep(algorithm.sealed_len(u32::from_le_bytes(input.first_chunk().copied().unwrap_or_default())));
        let Some(key) = algorithm.key(&kp) else { continue };
        SoftCrypto.cbc_encrypt(key, &mut chain, blocks);
        SoftCrypto.cbc_decrypt(key, &mut chain, blocks);
        keep(checksum(blocks.as_flattened()));
    }
    keep(chain);
}

#[inline(never)]
fn content_ids(input: &[u8], _: &mut [u8]) {
    let Some(hod) = Digest::from_slice(input) else { return };
    for algorithm in algorithms() {
        let ks = server_secret(&mut SoftCrypto, algorithm, input);
        let kp = segment_secret(&mut SoftCrypto, algorithm, &ks, &hod);
        let id = segment_id(&mut SoftCrypto, algorithm, &kp, &hod);
        keep(checksum(id.as_bytes()));
        keep(checksum(apart_id(&mut SoftCrypto, algorithm, &id, &hod).as_bytes()));
    }
    keep(SegmentId::from_slice(input).map(|id| (id, id.unverifiable())));
    keep(SegmentId::from_stored(input).map(|id| (id, id.is_unverifiable())));
}

#[inline(never)]
fn content_source(input: &[u8], output: &mut [u8]) {
    let offset = Reader::new(input).u64_le().unwrap_or_default();
    keep(input.read_at(offset, output));
    keep(checksum(output));
}

#[inline(never)]
fn content_info(input: &[u8], output: &mut [u8]) {
    let source: &dyn InfoSource = &input;
    let Ok(info) = Info::parse(source) else { return };
    keep((info.version(), info.algorithm(), info.segment_count(), info.encoded_len()));
    keep((info.range(), info.content_end()));
    let segments = [
        info.segment(source, unknown_u32()).map(Some),
        info.segment_at(source, unknown_u64()),
        info.segment(source, unknown_u32()).and_then(|segment| info.next_segment(source, &segment)),
    ];
    for segment in segments.into_iter().filter_map(Result::ok).flatten() {
        keep_segment(source, &segment);
        keep(info.secret_at(source, segment.secret_at()));
        let place = segment.place();
        keep(info.segment_near(source, place, unknown_u32()).map(|it| keep_segment(source, &it)));
        keep(info.segment_at_near(source, place, unknown_u64()).map(|it| it.is_some()));
    }
    keep(info.secret_at(source, unknown_u64()));
    let excerpt = info.excerpt(source, unknown_u64()..unknown_u64(), form()).ok().flatten();
    for excerpt in [Some(info.whole(source)), excerpt].into_iter().flatten() {
        keep((excerpt.info().clone(), excerpt.len()));
        keep(excerpt.emit(&mut &mut *output as &mut dyn InfoSink));
        keep(excerpt.read_at(unknown_u64(), output));
        let plan = excerpt.plan();
        keep((plan.is_empty(), plan.len(), plan.read_at(source, unknown_u64(), output)));
        keep(checksum(output));
        // A source that is not bytes in memory; what is in it follows other rules.
        let Ok(narrow) = Info::parse(&excerpt) else { continue };
        keep(narrow.segment(&excerpt, unknown_u32()).map(|segment| keep_segment(&excerpt, &segment)));
        keep(narrow.excerpt(&excerpt, unknown_u64()..unknown_u64(), form()).map(|part| part.is_some()));
    }
}

/// The types behind [`Info`], for what it does not pass on, and a segment of another structure.
#[inline(never)]
fn content_info_versions(input: &[u8], output: &mut [u8]) {
    let (source, other): (&dyn InfoSource, &dyn InfoSource) = (&input, &&*output);
    if let Ok(info) = v1::Info::parse(source) {
        keep(info.segment_at(unknown_u64()));
    }
    let (Ok(info), Ok(another)) = (v2::Info::parse(source), Info::parse(other)) else { return };
    keep(info.index_of_first());
    keep(another.segment(other, unknown_u32()).map(|segment| info.next_segment(source, &segment)));
    keep(v1::info_len(algorithm(), unknown_u64()));
}

#[inline(never)]
fn content_gathered(input: &[u8], output: &mut [u8]) {
    let source: &dyn InfoSource = &input;
    keep([Version::V1, Version::V2].map(gathered_front));
    if let Ok(info) = v1::Info::parse(source) {
        keep_gathered(&Gathered::v1(source, &info), output);
    }
    if let Ok(info) = v2::Info::parse(source) {
        keep_gathered(&Gathered::v2(source, &info), output);
    }
}

fn keep_gathered(source: &Gathered<'_>, output: &mut [u8]) {
    keep((source.len(), source.read_at(unknown_u64(), output), checksum(output)));
}

fn keep_segment(source: &dyn InfoSource, segment: &Segment) {
    keep((segment.index(), segment.offset(), segment.byte_len()));
    keep((
        segment.is_whole(),
        segment.block_bytes(),
        segment.block_count(),
        segment.block_len(unknown_u32()),
    ));
    keep((*segment.hod(), segment.secret().clone(), segment.id(&mut SoftCrypto)));
    keep((segment.listed_blocks(), segment.blocks_in_range()));
    keep(segment.block_hash(source, unknown_u32()));
    if let Ok(mut check) = HodCheck::new(&mut SoftCrypto, segment) {
        while let Ok(Progress::More) = check.step(source, &mut SoftCrypto, unknown_u32()) {}
    }
}

#[inline(never)]
fn content_empty(input: &[u8], output: &mut [u8]) {
    keep(parse_empty(&input));
    keep(emit_empty(algorithm(), &mut &mut *output));
    keep(checksum(output));
}

#[inline(never)]
fn content_v1_wire(input: &[u8], output: &mut [u8]) {
    use v1::wire;
    if let Ok(header) = wire::HeaderRepr::parse(input) {
        keep((header, header.buffer_len(), header.emit(output)));
    }
    for algorithm in algorithms() {
        let Ok(segment) = wire::SegmentRepr::parse(algorithm, input) else { continue };
        keep((segment.buffer_len(), segment.emit(output)));
        keep(segment);
        keep(wire::description_bytes(algorithm));
    }
    keep(checksum(output));
}

#[inline(never)]
fn content_v2_wire(input: &[u8], output: &mut [u8]) {
    use v2::wire;
    if let Ok(header) = wire::HeaderRepr::parse(input) {
        keep((header, header.buffer_len(), header.emit(output)));
    }
    if let Ok(chunk) = wire::ChunkRepr::parse(input) {
        keep((chunk, chunk.buffer_len()));
    }
    keep(wire::ChunkRepr { segments: unknown_u32() }.emit(output));
    if let Ok(segment) = wire::SegmentRepr::parse(input) {
        keep((segment.buffer_len(), segment.emit(output)));
        keep(segment);
    }
    keep(checksum(output));
}

#[inline(never)]
fn content_secret_key(input: &[u8], output: &mut [u8]) {
    let Ok(passphrase) = core::str::from_utf8(input) else { return };
    keep(secret_key::export_len(unknown_u64() as usize));
    keep(secret_key::export(&mut SoftCrypto, passphrase, input, output));
    keep(checksum(output));
    keep(secret_key::import(&mut SoftCrypto, passphrase, output).map(|key| checksum(key.expose())));
}

#[inline(never)]
fn content_hash_wire(input: &[u8], output: &mut [u8]) {
    if let Ok(header) = hash_wire::HashHeaderRepr::parse(input) {
        keep((header, header.buffer_len(), header.emit(output)));
        keep(checksum(header.source_file_name));
    }
    let mut writer = Writer::new(output);
    keep(hash_wire::ReadHashRequest::parse(input).map(|request| request.emit(&mut writer)));
    if let Ok((head, buffer)) = hash_wire::HashBasedHead::parse(input) {
        keep((head, checksum(buffer), head.emit(&mut writer)));
    }
    if let Ok((head, buffer)) = hash_wire::FileBasedHead::parse(input) {
        keep((head, checksum(buffer), head.emit(&mut writer)));
    }
    keep(checksum(writer.finish()));
}

#[inline(never)]
fn content_hash_file(input: &[u8], output: &mut [u8]) {
    let source: &dyn InfoSource = &input;
    if let Ok(file) = HashFile::parse(source) {
        keep((file.hash_type(), file.hash_version(), file.is_dirty()));
        keep((file.source_file_change_time(), file.source_file_size()));
        for window in [file.source_file_name(), file.blob()] {
            keep((window.len(), window.read_at(unknown_u64(), output)));
        }
    }
    let hash_level = match unknown_u32() {
        0 => HashLevel::Unsupported,
        1 => HashLevel::Unavailable,
        2 => HashLevel::DisableAll,
        3 => HashLevel::EnableAll,
        other => HashLevel::EnableShare { hash_enabled: other == 4 },
    };
    let asked = ReadHash {
        input,
        max_output_response: unknown_u32(),
        dialect: if unknown_u32() == 0 { Dialect::Smb21 } else { Dialect::Smb3 },
        hash_level,
        file: (unknown_u32() != 0).then_some(source),
        source_len: unknown_u64(),
    };
    let reply: Result<Reply<'_>, _> = asked.decide().and_then(|answer| match answer {
        Answer::Reply(reply) => Ok(reply),
        Answer::FileBased(plan) => {
            keep((plan.range(), plan.room(), plan.file().blob().len()));
            plan.reply(source, unknown_u64()..unknown_u64())
        }
    });
    match reply {
        Ok(reply) => {
            keep((reply.output_count(), reply.emit_head(&mut Writer::new(output))));
            keep((reply.buffer().len(), reply.buffer().read_at(unknown_u64(), output)));
            keep(checksum(output));
        }
        Err(status) => keep(status.code()),
    }
}

#[inline(never)]
fn discovery_xml(input: &[u8], output: &mut [u8]) {
    let Ok(mut xml) = Tokenizer::new(input) else { return };
    keep(xml.resolve(output).map(text));
    loop {
        if unknown_u32() == 0 {
            keep(xml.text().map(text));
        }
        if unknown_u32() == 0 {
            keep(xml.skip());
        }
        match xml.next_event() {
            Ok(Some(Event::Start(element))) => {
                keep((element.name.namespace.map(text), checksum(element.name.local)));
                keep(element.name.is(output, output));
                for (name, value) in element.attributes() {
                    keep((checksum(name), text(value)));
                }
                keep(element.attribute(output).map(text));
            }
            Ok(Some(Event::Text(found))) => {
                keep((text(found), found.is(output), found.only_token::<20>()));
                let mut tokens = found.tokens();
                while let Some(token) = tokens.next_token(output) {
                    keep(token.map(checksum));
                }
            }
            Ok(Some(Event::End)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

#[inline(never)]
fn discovery_parse(input: &[u8], _: &mut [u8]) {
    match parse_datagram(input) {
        Ok(Message::Probe(probe)) => {
            keep((checksum(probe.message_id.as_bytes()), probe.message_id.uuid()));
            probe.scopes.iter().for_each(keep);
            probe.scopes.ids().for_each(keep);
        }
        Ok(Message::ProbeMatches(matches)) => {
            keep((checksum(matches.relates_to.as_bytes()), matches.discarded));
            for one in &matches.matches_v2 {
                one.availability(unknown_u32() as usize).into_iter().flatten().for_each(keep);
                one.xaddrs.iter().for_each(keep);
                one.ages(&mut [0; MAX_BLOB_BYTES]).into_iter().flat_map(|ages| ages.iter()).for_each(keep);
            }
            for one in &matches.matches {
                one.segments().for_each(keep);
                one.xaddrs.iter().for_each(keep);
                one.scopes.iter().for_each(keep);
            }
        }
        Ok(Message::ProbeV2(probe)) => {
            keep(checksum(probe.message_id.as_bytes()));
            probe.ids.iter().for_each(keep);
        }
        Ok(Message::Other) => {}
        Err(error) => keep(error),
    }
    keep(Uuid::parse(input));
}

#[inline(never)]
fn discovery_probe(input: &[u8], output: &mut [u8]) {
    let ids = segments(input);
    let message_id = Uuid::random(&mut machines::Entropy);
    keep((ProbeRepr::fitting(&ids), ProbeRepr::capacity(unknown_u32() as usize)));
    keep(ProbeRepr { message_id, ids: &ids }.emit(output));
    keep(checksum(output));
    keep((ProbeV2Repr::fitting(&ids), ProbeV2Repr::capacity(unknown_u32() as usize)));
    if let Some(repr) = ProbeV2Repr::new(message_id, &ids) {
        keep(repr.emit(output));
    }
    keep(checksum(output));
}

#[inline(never)]
fn discovery_matches(input: &[u8], output: &mut [u8]) {
    let Ok(Message::Probe(probe)) = parse_datagram(input) else { return };
    let relates_to: &MessageId = &probe.message_id;
    let mut scopes = heapless::Vec::<(Scope, u32), 64>::new();
    for scope in probe.scopes.iter().chain(segments(input).iter().map(|id| Scope::new(*id))) {
        let _ = scopes.push((scope, unknown_u32()));
    }
    keep(ProbeMatchesRepr::capacity(unknown_u32() as usize, unknown_u32() as usize));
    keep(ProbeMatchesRepr::fitting(relates_to, &scopes));
    let matches = ProbeMatchesRepr {
        message_id: Uuid::random(&mut machines::Entropy),
        relates_to,
        instance_id: unknown_u32(),
        message_number: unknown_u32(),
        endpoint: Uuid::random(&mut machines::Entropy),
        scopes: &scopes,
        xaddr: machines::unknown_address(),
    };
    keep(matches.emit(output));
    keep(checksum(output));
}

#[inline(never)]
fn discovery_matches_v2(input: &[u8], output: &mut [u8]) {
    let Ok(Message::ProbeV2(probe)) = parse_datagram(input) else { return };
    let relates_to: &MessageId = &probe.message_id;
    let mut availability = Availabilities::new();
    for _ in probe.ids.iter() {
        let held = [Availability::Nothing, Availability::Some, Availability::All];
        keep(availability.push(held.get(unknown_u32() as usize).copied().unwrap_or_default()));
    }
    availability.iter().for_each(keep);
    keep((availability.len(), availability.is_empty(), availability.any()));
    keep(ProbeMatchesV2Repr::fitting_ages(relates_to, availability.len()));
    let matches = ProbeMatchesV2Repr {
        message_id: Uuid::random(&mut machines::Entropy),
        relates_to,
        instance_id: unknown_u32(),
        message_number: unknown_u32(),
        endpoint: Uuid::random(&mut machines::Entropy),
        availability: &availability,
        ages: input,
        xaddr: machines::unknown_address(),
    };
    keep(matches.emit(output));
    keep(checksum(output));
}

#[inline(never)]
fn ages(input: &[u8], output: &mut [u8]) {
    if let Some(ages) = Ages::parse(input) {
        ages.iter().for_each(keep);
        keep(ages.get(unknown_u32() as u8));
    }
    let mut list = heapless::Vec::<(u8, Duration), 300>::new();
    for index in input {
        keep(list.push((*index, Duration::from_micros(unknown_u64()))));
    }
    keep((AgesRepr(&list).buffer_len(), blob_bytes(unknown_u32() as usize)));
    keep(AgesRepr(&list).emit(&mut Writer::new(output)));
    keep(checksum(output));
}

#[inline(never)]
fn encoding_server(input: &[u8], output: &mut [u8]) {
    let mut request = ServerRequest::default();
    for line in input.split(|&byte| byte == 0) {
        if let Ok(header) = http::parse_header(line) {
            request.header(header.name, header.value);
        }
    }
    keep((request.is_missing_data(), request.is_hash_request()));
    let flags = unknown_u32();
    keep(request.wants_info(input, flags & 8 > 0));
    let available = Available { v1: flags & 1 > 0, v2: flags & 2 > 0, coming: flags & 4 > 0 };
    let coding: Coding = request.decide(input, flags & 8 > 0, available);
    keep(coding);
    let mut writer = Writer::new(output);
    keep(coding.emit_headers(&mut writer, unknown_u64()));
    keep(checksum(writer.finish()));
}

#[inline(never)]
fn encoding_client(input: &[u8], output: &mut [u8]) {
    let mut reply = ReplyCoding::default();
    for line in input.split(|&byte| byte == 0) {
        if let Ok(header) = http::parse_header(line) {
            reply.header(header.name, header.value);
        }
    }
    keep(reply.decide());
    let mut writer = Writer::new(output);
    let info = if unknown_u32() == 0 { InfoVersion::V1 } else { InfoVersion::V2 };
    keep(emit_ask(&mut writer, info));
    keep(emit_hash_request(&mut writer, info));
    keep(emit_missing_data(&mut writer, info));
    keep(checksum(writer.finish()));
}

#[inline(never)]
fn http_parse(input: &[u8], _: &mut [u8]) {
    keep(
        http::parse_request_line(input)
            .map(|line| (checksum(line.method), checksum(line.target), line.version)),
    );
    keep(http::parse_status_line(input));
    keep((http::is_token(input), input.first().copied().map(http::is_field_byte)));
    keep(http::parse_header(input).map(|header| (checksum(header.name), checksum(header.value))));
    keep(http::parse_chunk_line(input));
    keep(http::ByteRange::parse(input).map(|range| range.resolve(unknown_u64())));
    keep(http::ContentRange::parse(input));
    for item in http::items(input) {
        keep((checksum(item.token), checksum(item.params), http::name_eq(item.token, input)));
    }
}

#[inline(never)]
fn http_emit(input: &[u8], output: &mut [u8]) {
    let mut writer = Writer::new(output);
    keep(http::emit_request_line(&mut writer, input, input));
    keep(http::emit_status_line(&mut writer, unknown_u32() as u16));
    keep(http::reason(unknown_u32() as u16).len());
    keep(http::emit_header(&mut writer, input, input));
    keep(http::emit_content_length(&mut writer, unknown_u64()));
    keep(http::ByteRange::parse(input).map(|range| range.emit(&mut writer)));
    keep(http::ContentRange::parse(input).map(|range| range.emit(&mut writer)));
    keep(http::emit_head_end(&mut writer));
    keep(date::emit(&mut writer, unknown_u64()));
    keep(checksum(writer.finish()));
}

#[inline(never)]
fn http_select(input: &[u8], output: &mut [u8]) {
    let validators =
        Validators { etag: output, modified: unknown_u64(), modified_is_strong: unknown_u32() == 0 };
    let mut selection = Selection::new(validators);
    for line in input.split(|&byte| byte == 0) {
        if let Ok(header) = http::parse_header(line) {
            selection.header(header.name, header.value);
        }
    }
    keep(selection.decide(input, unknown_u64()));
    keep(date::parse(input));
}

#[inline(never)]
fn hosted_wire(input: &[u8], output: &mut [u8]) {
    let mut writer = Writer::new(output);
    let version = hosted::Version::of_path(input);
    keep((version.map(hosted::Version::to_wire), version.map(hosted::Version::path).map(str::len)));
    if let Some((opening, rest)) = input.split_first_chunk() {
        let opening = hosted::Opening::parse(opening);
        keep((opening, opening.is_of(hosted::Version::V1), opening.emit(&mut writer)));
        for bytes in rest.as_chunks().0 {
            match hosted::Descriptor::parse(bytes) {
                Ok(descriptor) => keep((descriptor, descriptor.blocks(), descriptor.emit(&mut writer))),
                Err(error) => keep(error),
            }
        }
    }
    let message = hosted::MessageType::from_wire(unknown_u32() as u16);
    keep((message.to_wire(), hosted::Opening::new(hosted::Version::V2, message, unknown_u32() as u16)));
    keep(input.first_chunk().map(hosted::ResponseCode::parse));
    keep((hosted::ResponseCode::Ok.to_wire(), checksum(writer.finish())));
}

#[inline(never)]
fn retrieval_request(input: &[u8], output: &mut [u8]) {
    let mut writer = Writer::new(output);
    match retrieval::Request::parse(input) {
        Ok(retrieval::Request::Negotiation(range)) => keep((range, range.emit_request(&mut writer))),
        Ok(retrieval::Request::GetBlockList(list)) => {
            keep((checksum(list.segment), list.cipher.algorithm()));
            keep_ranges(list.ranges);
            keep(list.emit(&mut writer));
        }
        Ok(retrieval::Request::GetBlocks(request)) => {
            keep((checksum(request.segment), request.block(), checksum(request.vrf)));
            keep_ranges(request.ranges);
            keep(request.emit(&mut writer));
        }
        Ok(retrieval::Request::GetSegmentList(list)) => {
            keep((checksum(list.request_id), list.ids.len(), list.ids.is_empty(), checksum(list.blob)));
            list.ids.iter().map(checksum).for_each(keep);
            keep(list.emit(&mut writer));
        }
        Ok(retrieval::Request::OtherVersion(version)) => keep((version, version.to_wire())),
        Ok(retrieval::Request::Other(message)) => keep((message, message.to_wire(), message.version())),
        Err(error) => keep(error),
    }
    keep(checksum(writer.finish()));
    keep(input.first_chunk().map(retrieval::Header::parse));
    keep(
        input
            .first_chunk()
            .map(retrieval::VersionRange::parse)
            .map(|range| range.speaks(retrieval::Version::from_wire(unknown_u32()))),
    );
    keep(retrieval::MessageType::from_wire(unknown_u32()));
    keep(retrieval::pad(unknown_u32() as usize));
    keep(retrieval::is_retrieval_path(input));
}

#[inline(never)]
fn retrieval_reply(input: &[u8], output: &mut [u8]) {
    let mut writer = Writer::new(output);
    match retrieval::Reply::parse(input) {
        Ok(retrieval::Reply::Negotiation(range)) => keep((range, range.emit_reply(&mut writer))),
        Ok(retrieval::Reply::BlockList(list)) => {
            keep((checksum(list.segment), list.next, list.cipher));
            keep_ranges(list.ranges);
            keep(list.emit(&mut writer));
        }
        Ok(retrieval::Reply::Block(block)) => {
            keep((checksum(block.block), checksum(block.around.vrf), checksum(block.around.iv)));
            keep(block.emit(&mut writer));
        }
        Ok(retrieval::Reply::SegmentList(list)) => {
            keep_ranges(list.ranges);
            keep(list.answers(&unknown_array(), unknown_u32()));
            list.ages().for_each(keep);
            keep(list.emit(&mut writer));
        }
        Ok(retrieval::Reply::Other(message)) => keep(message),
        Err(error) => keep(error),
    }
    keep(checksum(writer.finish()));
}

fn keep_ranges(ranges: retrieval::Ranges<'_>) {
    keep((ranges.len(), ranges.is_empty()));
    ranges.iter().for_each(|range| keep((range, range.to_wire(), range.indices().len())));
}

#[inline(never)]
fn retrieval_emit(input: &[u8], output: &mut [u8]) {
    let mut writer = Writer::new(output);
    keep(retrieval::GetBlocks::emit_one(input, unknown_u32(), &mut writer));
    let cipher = retrieval::CryptoAlgoId(unknown_u32());
    let request_id = &unknown_array();
    let ids = input.split(|&byte| byte == 0);
    keep(retrieval::GetSegmentList::len_for(ids.clone(), input));
    keep(retrieval::GetSegmentList::emit_for(request_id, cipher, ids, input, &mut writer));
    keep_ranges(retrieval::Ranges::new(input.as_chunks().0));
    let ranges = input.as_chunks().0.iter().map(|range| retrieval::Range::from_wire(*range));
    keep(retrieval::GetBlockList::emit_for(input, cipher, ranges, &mut writer));
    let seal = unknown_seal();
    let block = (unknown_u32() == 0).then(|| (unknown_u32(), &seal));
    let reply = retrieval::BlockReply::new(input, unknown_u32(), unknown_u32(), block);
    keep((reply.len(), reply.is_empty()));
    keep((reply.emit_head(&mut writer), reply.emit_tail(&mut writer)));
    let (count, next) = (unknown_u32(), unknown_u32());
    let reply = retrieval::BlockListReply { segment: input, cipher, count, next };
    keep((reply.len(), reply.is_empty()));
    keep((reply.emit_head(&mut writer), reply.emit_tail(&mut writer)));
    let reply = retrieval::SegmentListReply { request_id, cipher, count, blob: input };
    keep((reply.len(), reply.is_empty()));
    keep((reply.emit_head(&mut writer), reply.emit_tail(&mut writer)));
    keep(checksum(writer.finish()));
}

#[inline(never)]
fn retrieval_set(input: &[u8], _: &mut [u8]) {
    let (mut set, mut other) = (IndexSet::up_to(unknown_u32()), IndexSet::EMPTY);
    for range in input.as_chunks().0 {
        let (set, other) = (forget(&mut set), forget(&mut other));
        set.remove(unknown_u32());
        set.insert_range(retrieval::Range::from_wire(*range));
        other.insert(unknown_u32());
        keep((set.is_empty(), set.contains(unknown_u32()), set.first_from(unknown_u32()), set.last()));
        keep((set.count(), set.without(other)));
        set.intersection(other).ranges().chain(set.union(other).ranges()).for_each(keep);
    }
}

/// Segment ids of any bytes, as many as there are but 64 at most.
pub(crate) fn segments(input: &[u8]) -> heapless::Vec<SegmentId, 64> {
    let mut ids = heapless::Vec::new();
    for id in input.chunks(32).filter_map(SegmentId::from_slice) {
        let _ = ids.push(id);
    }
    ids
}

fn text(text: Text<'_>) -> u8 {
    text.bytes().fold(0, |sum, byte| sum ^ byte)
}

fn algorithms() -> [HashAlgorithm; 4] {
    [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::TruncatedSha512]
}

/// Reads all of `bytes`, so that [`keep`] keeps what they point to as well.
pub(crate) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}
