//! Files around content information: of a secret key, and of SMB.

use peerdist_core::bytes::Writer;
use peerdist_core::content::hash_file::wire::{FileBasedHead, HashBasedHead, ReadHashRequest};
use peerdist_core::content::hash_file::{Answer, Dialect, HashFile, HashLevel, ReadHash};
use peerdist_core::content::secret_key::{KeyFileError, export, export_len, import};
use peerdist_core::content::{Info, InfoFault, InfoSource, InfoUnreadable};
use peerdist_core::crypto::SoftCrypto;

use super::numbers;

/// A file that nobody sealed does not open; what is sealed opens to what it was.
pub fn secret_key(data: &[u8]) {
    let mut file = data.to_vec();
    match import(&mut SoftCrypto, "passphrase", &mut file).map(|key| key.expose().to_vec()) {
        // Only what this passphrase has sealed: exporting the key again gives the same bytes.
        Ok(key) => {
            let mut again = vec![0; export_len(key.len()).unwrap()];
            export(&mut SoftCrypto, "passphrase", &key, &mut again).unwrap();
            assert_eq!(again, data);
            assert!(file.iter().all(|&byte| byte == 0), "what was opened is wiped");
        }
        Err(KeyFileError::Truncated { len }) => {
            assert!(len == data.len() && (len < 48 || len % 16 != 0));
            assert_eq!(file, data);
        }
        Err(error) => {
            assert_eq!(error, KeyFileError::WrongPassphrase);
            assert!(file.iter().all(|&byte| byte == 0), "what was opened is wiped");
        }
    }

    let mut sealed = vec![0; export_len(data.len()).unwrap()];
    assert_eq!(export(&mut SoftCrypto, "other", data, &mut sealed), Ok(sealed.len()));
    let wrong = import(&mut SoftCrypto, "passphrase", &mut sealed.clone()).err();
    assert_eq!(wrong, Some(KeyFileError::WrongPassphrase));
    assert_eq!(import(&mut SoftCrypto, "other", &mut sealed).unwrap().expose(), data);
}

/// Any bytes as a content information file, as a request for it, and as an answer.
pub fn hash_file(data: &[u8]) {
    let source: &dyn InfoSource = &data;
    match HashFile::parse(source) {
        Ok(file) => {
            for window in [file.blob(), file.source_file_name()] {
                let mut bytes = vec![0; window.len() as usize];
                window.read_at(0, &mut bytes).unwrap();
                assert_eq!(
                    window.read_at(window.len(), &mut [0]),
                    Err(InfoUnreadable { offset: window.len() })
                );
            }
            if let Ok(info) = Info::parse(&file.blob()) {
                assert_eq!(info.encoded_len(), file.blob().len());
            }
        }
        Err(error) => {
            assert!(error.offset <= data.len() as u64 || error.reason == InfoFault::Truncated, "{error}");
        }
    }
    if let Ok((head, buffer)) = HashBasedHead::parse(data) {
        assert!(head.buffer_length as usize == buffer.len() && buffer.len() < data.len());
    }
    if let Ok((head, buffer)) = FileBasedHead::parse(data) {
        assert!(head.buffer_length as usize == buffer.len() && buffer.len() < data.len());
    }
    if let Ok(request) = ReadHashRequest::parse(data) {
        let mut buf = [0; 24];
        request.emit(&mut Writer::new(&mut buf)).unwrap();
        assert_eq!(buf, data[..24]);
    }

    // The first bytes ask for something in the others.
    let (input, rest) = data.split_at(data.len().min(24));
    let (a, b) = numbers(data);
    for dialect in [Dialect::Smb21, Dialect::Smb3] {
        let asked = ReadHash {
            input,
            max_output_response: (a % 5_000) as u32,
            dialect,
            hash_level: HashLevel::EnableAll,
            file: Some(&rest),
            source_len: b % (1 << 40),
        };
        answer(&asked);
    }
}

/// No answer is longer than the room for it, and all of it can be read.
fn answer(asked: &ReadHash<'_>) {
    let read = |reply: &peerdist_core::content::hash_file::Reply<'_>| {
        assert!(reply.output_count() <= asked.max_output_response);
        let mut bytes = vec![0; reply.buffer().len() as usize];
        reply.buffer().read_at(0, &mut bytes).unwrap();
    };
    match asked.decide() {
        Err(_) => {}
        Ok(Answer::Reply(reply)) => read(&reply),
        Ok(Answer::FileBased(plan)) => {
            let blob = plan.file().blob();
            let Ok(Info::V2(info)) = Info::parse(&blob) else { return };
            let Ok(excerpt) = plan.excerpt(&info, &blob) else { return };
            let covered = excerpt.info().range();
            assert!(covered.start == plan.range().start && covered.end <= plan.range().end);
            read(&plan.reply(&excerpt, covered).unwrap());
        }
    }
}
