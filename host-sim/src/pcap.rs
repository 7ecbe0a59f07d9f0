//! Captures for Wireshark: one pcapng file per host, with what its interface sent and received.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};
use peerdist_core::time::Instant;

use crate::switch::PortId;
use crate::world::{Observer, Point};

/// Time stamps count in units of 10 to the minus 9 s, which is how the writer takes them.
const NANOSECONDS: u8 = 9;
/// The direction bits of a packet's flags (pcapng, 4.3.1).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A capture that could not be written: of which file, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct CaptureError {
    path: PathBuf,
    error: io::Error,
}

/// Open capture files, the first for port 0, and so on.
///
/// They are called `NAME.pcapng.part` until [`Capture::finish`], and go if it does not come to that. An observer
/// cannot stop the world: an error ends its file, and [`Capture::finish`] tells.
#[derive(Default)]
pub struct Capture {
    files: Vec<CaptureFile>,
    failed: Option<CaptureError>,
    made: Made,
}

struct CaptureFile {
    /// What it is called once it is complete.
    path: PathBuf,
    /// `None` after an error.
    writer: Option<PcapNgWriter<BufWriter<File>>>,
}

impl Capture {
    /// Opens a file for each `folder/NAME.pcapng`, and creates the folder if there is none.
    ///
    /// Either all files are open, or everything is as it was before.
    pub fn create(folder: &Path, names: &[String]) -> Result<Self, CaptureError> {
        let mut made = Made::default();
        make_folder(folder, &mut made)?;
        let files = names.iter().map(|name| CaptureFile::start(folder, name, &mut made));
        let files = files.collect::<Result<_, _>>()?;
        Ok(Self { files, failed: None, made })
    }

    /// Writes out what is left and gives the files their names; the first error there was, if any.
    pub fn finish(self) -> Result<(), CaptureError> {
        let Self { files, failed, made } = self;
        if let Some(failed) = failed {
            return Err(failed);
        }
        let mut complete = Vec::with_capacity(files.len());
        for CaptureFile { path, writer } in files {
            match writer.map_or(Ok(()), |writer| writer.into_inner().flush()) {
                Ok(()) => complete.push(path),
                Err(error) => return Err(CaptureError { path, error }),
            }
        }
        // Only now that all are complete may older captures of these names go.
        for path in complete {
            fs::rename(part(&path), &path).map_err(|error| CaptureError { path, error })?;
        }
        made.keep();
        Ok(())
    }
}

impl Observer for Capture {
    fn observe(&mut self, now: Instant, port: PortId, point: Point, frame: &[u8]) {
        let direction = match point {
            Point::Sent => OUTBOUND,
            Point::Received => INBOUND,
            // A capture shows what the host's interface sees.
            Point::Forwarded => return,
        };
        let Some(file) = self.files.get_mut(port.index()) else { return };
        let Some(writer) = &mut file.writer else { return };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_micros(now.micros()),
            original_len: frame.len() as u32,
            data: Cow::Borrowed(frame),
            options: vec![EnhancedPacketOption::Flags(direction)],
        };
        if let Err(error) = writer.write_pcapng_block(block) {
            file.writer = None;
            self.failed.get_or_insert(CaptureError { path: file.path.clone(), error: plain(error) });
        }
    }
}

impl CaptureFile {
    fn start(folder: &Path, name: &str, made: &mut Made) -> Result<Self, CaptureError> {
        let path = folder.join(format!("{name}.pcapng"));
        let mut begin = || {
            if path.is_dir() {
                return Err(PcapError::IoError(io::ErrorKind::IsADirectory.into()));
            }
            let file = File::create(part(&path)).map_err(PcapError::IoError)?;
            made.files.push(part(&path));
            let mut writer = PcapNgWriter::new(BufWriter::new(file))?;
            writer.write_pcapng_block(InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            })?;
            Ok(writer)
        };
        match begin() {
            Ok(writer) => Ok(Self { path, writer: Some(writer) }),
            Err(error) => Err(CaptureError { path, error: plain(error) }),
        }
    }
}

/// What was made so far, and goes again unless it is kept.
#[derive(Default)]
struct Made {
    /// Outermost first.
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    fn keep(mut self) {
        self.folders.clear();
        self.files.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Tidying up after an error that is being reported: a second one would only hide it.
        self.files.iter().for_each(|path| _ = fs::remove_file(path));
        self.folders.iter().rev().for_each(|path| _ = fs::remove_dir(path));
    }
}

fn make_folder(folder: &Path, made: &mut Made) -> Result<(), CaptureError> {
    let missing = folder.ancestors().filter(|path| !path.as_os_str().is_empty() && !path.exists());
    let mut missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
    missing.reverse();
    for path in missing {
        fs::create_dir(&path).map_err(|error| CaptureError { path: path.clone(), error })?;
        made.folders.push(path);
    }
    if !folder.is_dir() {
        let error = io::Error::new(io::ErrorKind::NotADirectory, "not a folder");
        return Err(CaptureError { path: folder.into(), error });
    }
    Ok(())
}

/// What a capture is called until it is complete.
fn part(path: &Path) -> PathBuf {
    path.with_added_extension("part")
}

fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn what_was_seen_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/b");
        let mut capture = Capture::create(&folder, &names(&["origin", "client-1"])).unwrap();
        let now = Instant::from_micros(1_234_567);
        capture.observe(now, PortId(1), Point::Sent, b"out");
        capture.observe(now, PortId(1), Point::Forwarded, b"not yet there");
        capture.observe(now, PortId(1), Point::Received, b"in, longer");
        capture.observe(now, PortId(9), Point::Received, b"nobody's");
        capture.finish().unwrap();

        let file = File::open(folder.join("client-1.pcapng")).unwrap();
        let mut reader = PcapNgReader::new(file).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                let packet = packet.into_owned();
                packets.push((packet.timestamp, packet.options, packet.data.to_vec()));
            }
        }
        let at = Duration::from_micros(1_234_567);
        let flags = |bits| vec![EnhancedPacketOption::Flags(bits)];
        assert_eq!(packets, [(at, flags(2), b"out".to_vec()), (at, flags(1), b"in, longer".to_vec())]);
        let interface = &reader.interfaces()[0];
        assert_eq!(interface.linktype, DataLink::ETHERNET);
        assert!(interface.options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
        assert!(folder.join("origin.pcapng").metadata().unwrap().len() > 0);
    }

    #[test]
    fn a_failure_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        fs::write(inside("one.pcapng"), "an older capture").unwrap();
        fs::create_dir(inside("three.pcapng")).unwrap();
        let failed = Capture::create(folder.path(), &names(&["one", "two", "three"])).err().unwrap();
        assert!(failed.to_string().contains("three.pcapng: "), "{failed}");
        assert_eq!(fs::read(inside("one.pcapng")).unwrap(), b"an older capture");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

        // The same if it fails at the end, or does not come to one.
        let capture = Capture::create(folder.path(), &names(&["one", "two"])).unwrap();
        fs::create_dir(inside("two.pcapng")).unwrap();
        fs::write(inside("two.pcapng").join("in the way"), "").unwrap();
        assert!(capture.finish().unwrap_err().to_string().contains("two.pcapng: "));
        assert!(!inside("two.pcapng.part").exists());
        fs::write(inside("one.pcapng"), "an older capture").unwrap();
        let capture = Capture::create(folder.path(), &names(&["one"])).unwrap();
        assert!(inside("one.pcapng.part").exists());
        drop(capture);
        assert!(!inside("one.pcapng.part").exists());
        assert_eq!(fs::read(inside("one.pcapng")).unwrap(), b"an older capture");

        let below_a_file = inside("one.pcapng").join("x/y");
        assert!(Capture::create(&below_a_file, &names(&["one"])).is_err());
        assert!(Capture::create(&inside("one.pcapng"), &names(&["one"])).is_err());
        let bad_name = Capture::create(&inside("new/folder"), &names(&["no/such"]));
        assert!(bad_name.is_err() && !inside("new").exists());
    }
}
