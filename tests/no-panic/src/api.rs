//! The PeerDist API: every call, with handles of which nothing is known.

use peerdist_core::api::operation::{Completion, OperationId};
use peerdist_core::api::{
    ContentHandle, Handle, InfoHandle, InfoVersions, InstanceHandle, Patience, PublicationOptions, Published,
    Status, StreamHandle, Tabled, UserId,
};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::node::{ClientOnly, Config, Node};

use crate::codecs::checksum;
use crate::machines::{Entropy, RamArrays, now, ram};
use crate::{forget, keep, unknown, unknown_array, unknown_u32, unknown_u64};

type Publisher = Node<RamArrays, SoftCrypto, Entropy, 2, 1, 0, ClientOnly, Tabled<2, 2, 2, 2, 2, 2, 4>>;

/// What calls have given.
#[derive(Default)]
struct Given {
    instance: Option<InstanceHandle>,
    stream: Option<StreamHandle>,
    info: Option<InfoHandle>,
    content: Option<ContentHandle>,
    operation: Option<OperationId>,
}

#[inline(never)]
pub(crate) fn api(input: &[u8], output: &mut [u8]) {
    let mut node = Publisher::new(Config::default(), ram(), SoftCrypto, Entropy);
    let mut given = Given::default();
    while unknown() > 0 {
        let (node, given) = (forget(&mut node), forget(&mut given));
        keep(node.poll_output(now(), output).is_some());
        common(node, given, input);
        streams(node, given, input);
        infos(node, given, input, output);
        contents(node, given, input, output);
    }
}

#[inline(never)]
fn common(node: &mut Publisher, given: &mut Given, input: &[u8]) {
    let mut api = node.api();
    match unknown() {
        0 => given.instance = api.startup(unknown_u32(), UserId(unknown_u32())).ok(),
        1 => api.set_status(Status::Disabled),
        2 => api.set_status(Status::Unavailable),
        3 => api.set_status(Status::Available),
        4 => api.set_server_secret(input),
        6 => api.set_published(Published::V1),
        7 => api.set_published(Published::V2),
        8 => api.set_published(Published::Both),
        5 => {
            let Some(done) = api.poll_operation() else { return };
            let Completion { operation, instance, handle, key, outcome } = done;
            keep((key, outcome, done.code().number(), done.bytes(), done.offset()));
            given.operation = Some(operation);
            given.instance = Some(instance);
            match handle {
                Handle::Instance(instance) => given.instance = Some(instance),
                Handle::Stream(stream) => given.stream = Some(stream),
                Handle::Info(info) => given.info = Some(info),
                Handle::Content(content) => given.content = Some(content),
            }
        }
        _ => {}
    }
    let Some(instance) = given.instance else { return };
    match unknown() {
        0 => keep(api.shutdown(instance)),
        1 => keep(api.status(instance)),
        2 => given.operation = api.register_status(instance, 1).ok(),
        3 => keep(api.unregister_status(instance)),
        4 => keep(api.unpublish(instance, input)),
        5 => {
            let Some(operation) = given.operation else { return };
            keep(api.is_pending(operation));
            keep(api.cancel_server_operation(instance, input, operation));
        }
        _ => {}
    }
}

#[inline(never)]
fn streams(node: &mut Publisher, given: &mut Given, input: &[u8]) {
    let mut api = node.api();
    if let Some(instance) = given.instance {
        let options = PublicationOptions { version: unknown_u32(), flags: unknown_u32() };
        given.stream = api.publish_stream(instance, input, unknown_u64(), options, 2).ok();
    }
    let Some(stream) = *forget(&mut given.stream) else { return };
    match unknown() {
        0 => given.operation = api.add_to_stream(stream, input).ok(),
        1 => given.operation = api.complete_stream(stream).ok(),
        2 => keep(api.close_stream(stream)),
        _ => keep(stream.instance()),
    }
}

#[inline(never)]
fn infos(node: &mut Publisher, given: &mut Given, input: &[u8], output: &mut [u8]) {
    let mut api = node.api();
    if let Some(instance) = given.instance {
        let (offset, len) = (unknown_u64(), unknown_u64());
        let versions = InfoVersions { min: unknown_u32(), max: unknown_u32() };
        let opened = match unknown() {
            0 => api.open_content_information(instance, input, offset, len, 3),
            _ => api.open_content_information_ex(instance, input, offset, len, versions, 3),
        };
        keep(opened.map_err(|error| error.code()));
        given.info = opened.ok();
    }
    let Some(info) = *forget(&mut given.info) else { return };
    match unknown() {
        0 => given.operation = api.retrieve_content_information(info, unknown_u32()).ok(),
        1 => keep((api.copy_content_information(info, unknown_u64(), output), checksum(output))),
        2 => keep(api.close_content_information(info)),
        _ => keep(info.instance()),
    }
}

#[inline(never)]
fn contents(node: &mut Publisher, given: &mut Given, input: &[u8], output: &mut [u8]) {
    let mut api = node.api();
    if let Some(instance) = given.instance {
        given.content = api.open_content(instance, unknown_array(), 4).ok();
    }
    if let Some(operation) = *forget(&mut given.operation) {
        keep((api.copy_read(operation, unknown_u64(), output), checksum(output)));
        api.end_read(operation);
    }
    keep(api.dropped());
    let Some(content) = *forget(&mut given.content) else { return };
    let (timeout, max) = (Patience::from_millis(unknown_u32()), unknown_u32());
    match unknown() {
        0 => given.operation = api.add_content_information(content, input).ok(),
        1 => given.operation = api.complete_content_information(content).ok(),
        2 => given.operation = api.add_data(content, unknown_u64(), input).ok(),
        3 => given.operation = api.block_read(now(), content, unknown_u64(), max, timeout).ok(),
        4 => given.operation = api.stream_read(now(), content, max, timeout).ok(),
        5 => keep(api.cancel_client_operation(content, given.operation)),
        6 => keep(api.close_content(content)),
        7 => keep(api.information(now(), content)),
        8 => given.operation = api.flush_content(content.instance(), unknown_array(), max as usize).ok(),
        _ => keep(content.instance()),
    }
}
