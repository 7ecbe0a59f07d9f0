//! Everything: a node that serves, fetches, and downloads from origins.
#![no_std]
#![no_main]

use core::net::SocketAddr;

use peerdist_core::api::client::ContentTag;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::download::Url;
use peerdist_core::node::{Config, Input, Node, Output};
use peerdist_core::time::{Duration, Instant};
use size::{AnyStore, Entropy, any, keep, unknown, unknown_u64};

type Peer = Node<AnyStore, SoftCrypto, Entropy, 4, 2>;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    size::crypto(size::provider(&mut SoftCrypto));
    let mut peer: Peer = Node::new(any(Config::default()), AnyStore, SoftCrypto, Entropy);
    let address = any(SocketAddr::from(([192, 0, 2, 1], 80)));
    peer.set_addresses(&[Subnet { address: address.ip(), prefix: unknown() }]);
    let mut buffer = [0; 2_048];
    let mut stream = None;
    loop {
        let now = Instant::from_micros(unknown_u64());
        if stream.is_none() {
            stream = peer.accept(now, address);
        }
        if let Some(stream) = stream {
            let data = any(&buffer[..]);
            let input = match unknown() {
                0 => Input::Datagram { from: address, data },
                1 => Input::Connected { stream },
                2 => Input::Data { stream, data },
                3 => Input::Eof { stream },
                4 => Input::Lost { stream },
                5 => Input::NoSocket { stream },
                _ => Input::Timeout,
            };
            keep(&peer.handle_input(now, input));
            keep(&peer.poll_stream(now, stream, &mut buffer));
        }
        while let Some(output) = peer.poll_output(now, &mut buffer) {
            if let Output::Connect { stream: asked, .. } = &output {
                stream = Some(*asked);
            }
            keep(&output);
        }
        keep(&peer.poll_timeout(now));
        let Ok(content) = peer.open_content(any(ContentTag::default())) else { continue };
        keep(&peer.add_content_information(content, any(&buffer[..])));
        keep(&peer.complete_content_information(content));
        keep(&peer.is_ready(content));
        let timeout = Duration::from_millis(unknown_u64());
        keep(&peer.block_read(now, content, unknown_u64(), unknown_u64(), timeout));
        let read = peer.stream_read(now, content, unknown_u64(), timeout);
        keep(&peer.add_data(content, unknown_u64(), any(&buffer[..])));
        if let Some(completion) = peer.poll_completion() {
            keep(&completion);
            keep(&peer.copy_read(completion.read, unknown_u64(), &mut buffer));
        }
        if let Ok(read) = read {
            peer.end_read(read);
        }
        keep(&peer.close_content(content));
        if let (Ok(host), Ok(path)) = (any("a").try_into(), any("/").try_into())
            && let Some(download) = peer.download(now, Url { origin: address, host, path })
        {
            peer.cancel_download(download);
        }
    }
}
