//! A client in small: gets a file that somebody has described, from peers if they have it, and else from its origin.
//!
//! ```sh
//! cargo run -p peerdist-capi --example consumer -- ADDRESS INFO ORIGIN COPY [stay]
//! ```
//!
//! INFO has the content information. ORIGIN stands for the server of the file, which is far away: what no peer has is
//! read there, and added, so that the next client finds it here. With `stay` the program then gives the file to others
//! until its input ends. The same in C is `../c/consumer.c`.

mod shared;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use peerdist_core::api::client::DEFAULT_READ_TIMEOUT;
use peerdist_core::api::operation::Outcome;
use peerdist_core::api::{ApiError, ContentHandle, Patience, SUPPORTED_VERSION, UserId};
use shared::{Peer, arguments};

fn main() -> Result<(), Box<dyn Error>> {
    let stays = std::env::args().nth(5).is_some_and(|last| last == "stay");
    let usage = "consumer ADDRESS INFO ORIGIN COPY [stay]";
    let [address, info, origin, copy] = if stays {
        let [address, info, origin, copy, _] = arguments(usage)?;
        [address, info, origin, copy]
    } else {
        arguments(usage)?
    };
    let mut peer = Peer::open(address.parse()?)?;
    let instance = peer.node.api().startup(SUPPORTED_VERSION, UserId::default())?;
    let content = peer.node.api().open_content(instance, *b"example\0\0\0\0\0\0\0\0\0", 0)?;

    // The content information, in pieces of any length. Until it is complete, nothing can be read.
    for piece in fs::read(info)?.chunks(1 << 16) {
        let operation = peer.node.api().add_content_information(content, piece)?;
        peer.finish(operation)?;
    }
    let operation = peer.node.api().complete_content_information(content)?;
    if let Outcome::Failed(error) = peer.finish(operation)?.outcome {
        return Err(error.into());
    }

    // The content, from its beginning to its end. Each read goes on where the last one ended.
    let (mut origin, mut copy) = (File::open(origin)?, File::create(copy)?);
    let (mut peers, mut missing) = (0, 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (now, max) = (peer.clock.now(), buffer.len() as u32);
        let patience = Patience::For(DEFAULT_READ_TIMEOUT);
        let operation = peer.node.api().stream_read(now, content, max, patience)?;
        match peer.finish(operation)?.outcome {
            Outcome::Data { offset, .. } => {
                let len = peer.node.api().copy_read(operation, 0, &mut buffer)?;
                // Until now the block could not leave the cache.
                peer.node.api().end_read(operation);
                copy.seek(SeekFrom::Start(offset))?;
                copy.write_all(&buffer[..len])?;
                peers += len as u64;
            }
            // Nobody near has it.
            Outcome::Missing { offset, len } | Outcome::TimedOut { offset, len } => {
                from_origin(&mut peer, content, &mut origin, &mut copy, offset, len)?;
                missing += u64::from(len);
            }
            Outcome::Failed(ApiError::NoMore) => break,
            other => return Err(format!("a read: {other:?}").into()),
        }
    }
    println!("{peers} bytes from peers, {missing} from the origin");

    if stays {
        let (over, waker) = (Arc::new(AtomicBool::new(false)), peer.driver.waker());
        let told = over.clone();
        thread::spawn(move || {
            // However it ends.
            _ = io::copy(&mut io::stdin(), &mut io::sink());
            told.store(true, Ordering::Relaxed);
            waker.wake();
        });
        while !over.load(Ordering::Relaxed) {
            let next = peer.poll();
            peer.driver.wait(next)?;
        }
    }
    peer.node.api().shutdown(instance)?;
    Ok(())
}

/// Gets bytes from the origin: writes them to the copy, and adds them to the cache.
fn from_origin(
    peer: &mut Peer,
    content: ContentHandle,
    origin: &mut File,
    copy: &mut File,
    offset: u64,
    len: u32,
) -> Result<(), Box<dyn Error>> {
    let mut bytes = vec![0; len as usize];
    origin.seek(SeekFrom::Start(offset))?;
    origin.read_exact(&mut bytes)?;
    copy.seek(SeekFrom::Start(offset))?;
    copy.write_all(&bytes)?;
    for (index, piece) in bytes.chunks(1 << 16).enumerate() {
        let operation = peer.node.api().add_data(content, offset + (index << 16) as u64, piece)?;
        peer.finish(operation)?;
    }
    Ok(())
}
