//! On a host: a thread of the library moves the sockets, from the first PeerDistStartup to the last
//! PeerDistShutdown.
#![allow(unsafe_code, reason = "the configuration has strings of C")]

use core::ffi::{CStr, c_char};
use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peerdist_core::api::{Published, Status, Tabled, client};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{Config, Node, Serving};
use peerdist_hal::std::{Clock, Driver, Local, Options, Waker, local};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use zeroize::Zeroizing;

use super::storage::{self, Storage};
use crate::caller::{self, Input, Room};
use crate::service::{Answer, Service};
use crate::types::*;

pub(crate) const INSTANCES: usize = 64;
pub(crate) const STREAMS: usize = 64;
pub(crate) const INFOS: usize = 128;
pub(crate) const CONTENTS: usize = client::CONTENTS;
pub(crate) const OPERATIONS: usize = 1_024;

/// Publications; each has a content information of each version, and there are ids for 256 of those.
const PUBLICATIONS: usize = 96;

/// Pages of data that cannot be verified yet: 1 MiB.
const WAITING_PAGES: usize = 2_048;

/// Bytes that the node is given at once: it has time for others in less than a millisecond.
pub(crate) const PIECE: usize = 256 * 1_024;

/// Connections of the node: those of its uploads and its own.
const CONNECTIONS: usize = 96;
const OWN_CONNECTIONS: usize = 24;

/// Of those of the system, what one remote address may take.
const CLIENT_CONNECTIONS: usize = 48;

/// Blocks that are fetched at once.
const BLOCKS: usize = 32;

/// Bytes of blocks that are kept, unless somebody says otherwise.
const MEMORY_BYTES: u64 = 64 << 20;
const FOLDER_BYTES: u64 = 4 << 30;

/// Of the thread that makes the node.
const STACK_BYTES: usize = 32 << 20;

/// How long the thread rests when the system has no way to wait.
const REST: Duration = Duration::from_millis(10);

type Application = Tabled<INSTANCES, PUBLICATIONS, STREAMS, INFOS, CONTENTS, OPERATIONS, WAITING_PAGES>;

pub(crate) type Machine =
    Box<Node<Storage, SoftCrypto, ChaCha20Rng, CONNECTIONS, BLOCKS, 0, Serving, Application>>;

/// What is promised of a service, its node keeps: it may go to any thread.
const _: () = {
    const fn goes_anywhere<T: Send>() {}
    goes_anywhere::<Machine>();
};

/// How the service is set up. What is zero or NULL is left to the library.
#[repr(C)]
#[derive(Debug)]
pub struct peerdist_config {
    /// The size of this structure.
    pub size: DWORD,
    /// Which versions of content information are published: 1, 2, or 0 for both.
    pub versions: DWORD,
    /// The address to work on, in text; by default that from which the system sends multicast. One of the
    /// other family is taken along, if the interface has it.
    pub address: *const c_char,
    /// The folder of the cache; by default the cache is in memory.
    pub cache: *const c_char,
    /// Bytes of blocks that are cached at most.
    pub cache_bytes: ULONGLONG,
    /// The key from which segments get their secrets; by default one is drawn at each start. Servers that share
    /// it describe the same content the same way.
    pub server_secret: *const u8,
    /// Bytes of the key.
    pub server_secret_bytes: DWORD,
    /// The TCP port on which peers are served; by default one that is free.
    pub port: u16,
}

/// What was configured.
struct Settings {
    address: Option<IpAddr>,
    port: u16,
    cache: Option<PathBuf>,
    cache_bytes: u64,
    secret: Option<Zeroizing<Vec<u8>>>,
    versions: Published,
}

const DEFAULTS: Settings =
    Settings { address: None, port: 0, cache: None, cache_bytes: 0, secret: None, versions: Published::Both };

/// What outlives a service.
struct Life {
    settings: Settings,
    status: Status,
    thread: Option<JoinHandle<()>>,
    /// The latest of the handles that were given out, so that none is ever valid again.
    generation: usize,
}

/// A service at work.
struct Running {
    service: Box<Service>,
    clock: Clock,
    waker: Waker,
    stop: bool,
}

/// Held while a service begins or ends; taken before the others.
static LIFE: Mutex<Life> =
    Mutex::new(Life { settings: DEFAULTS, status: Status::Available, thread: None, generation: 0 });

/// Why the service is not available. Taken after the others.
static TROUBLE: Mutex<String> = Mutex::new(String::new());

/// Who wants the service waits here, so that the thread, which wants it all the time, lets others in.
static TURN: Mutex<()> = Mutex::new(());
static SERVICE: Mutex<Option<Running>> = Mutex::new(None);

/// Has the service do something. Nobody waits for long: neither the network nor an event is waited for here.
pub(crate) fn with<T>(
    act: impl FnOnce(&mut Service, peerdist_core::time::Instant) -> Answer<T>,
) -> Answer<T> {
    let mut place = enter();
    // Before the first PeerDistStartup and after the last PeerDistShutdown, no handle is valid.
    let running = place.as_mut().ok_or(ERROR_INVALID_HANDLE)?;
    let answer = act(&mut running.service, running.clock.now());
    running.waker.wake();
    answer
}

pub(crate) fn startup(version: DWORD) -> Answer<PEERDIST_INSTANCE_HANDLE> {
    let mut life = lock(&LIFE);
    if life.thread.is_none() {
        start(&mut life)?;
    }
    let answer = with(|service, _| service.startup(version));
    if answer.is_err() {
        stop_if_idle(&mut life);
    }
    answer
}

pub(crate) fn shutdown(instance: HANDLE) -> Answer<()> {
    let mut life = lock(&LIFE);
    let answer = with(|service, _| service.shutdown(instance));
    stop_if_idle(&mut life);
    answer
}

pub(crate) fn set_status(status: PEERDIST_STATUS) -> Answer<()> {
    let mut life = lock(&LIFE);
    life.status = super::status(status)?;
    if life.thread.is_none() {
        return Ok(());
    }
    with(|service, _| {
        // A service that could not be set up, or has failed, stays unavailable.
        if lock(&TROUBLE).is_empty() {
            service.set_status(life.status);
        }
        Ok(())
    })
}

/// Sets up the service, before the first PeerDistStartup; NULL takes back what was set up.
/// ERROR_INVALID_PARAMETER if a field makes no sense, PEERDIST_ERROR_INVALID_CONFIGURATION if this machine does not
/// have the address, PEERDIST_ERROR_ALREADY_INITIALIZED while an instance is open.
///
/// Where the service cannot be set up, PeerDistStartup succeeds all the same: the status tells, and
/// peerdist_trouble says why.
///
/// # Safety
/// `config` is NULL or valid, and so is what it points to, until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_configure(config: *const peerdist_config) -> DWORD {
    let mut life = lock(&LIFE);
    if life.thread.is_some() {
        return PEERDIST_ERROR_ALREADY_INITIALIZED;
    }
    // SAFETY: the caller promises it.
    match unsafe { settings(config) } {
        Ok(settings) => {
            life.settings = settings;
            ERROR_SUCCESS
        }
        Err(code) => code,
    }
}

/// Writes why the service is not available, as a string that ends with a zero, and returns how long all of it is:
/// 0 if nothing is wrong.
///
/// # Safety
/// `pBuffer` is NULL or valid for so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_trouble(pBuffer: *mut c_char, cbBuffer: DWORD) -> DWORD {
    let trouble = lock(&TROUBLE);
    let text = trouble.as_bytes();
    // SAFETY: the caller promises it.
    if let Some(mut room) = unsafe { Room::new(pBuffer.cast(), cbBuffer) }
        && let Some((end, room)) = room.bytes().split_last_mut()
    {
        *end = 0;
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text[..len]);
        room[len..].fill(0);
    }
    text.len() as DWORD
}

/// # Safety
/// The pointer is NULL or valid, and so is what it points to.
unsafe fn settings(config: *const peerdist_config) -> Answer<Settings> {
    if config.is_null() {
        return Ok(DEFAULTS);
    }
    // SAFETY: it is not NULL, and the caller promises the rest. The size stands first.
    let size = unsafe { caller::read(config.cast::<DWORD>()) };
    if size != Some(size_of::<peerdist_config>() as DWORD) {
        return Err(ERROR_INVALID_PARAMETER);
    }
    // SAFETY: as above.
    let config = unsafe { &*config };
    // SAFETY: the caller promises that what is not NULL are strings.
    let (address, cache) = unsafe { (text(config.address)?, text(config.cache)?) };
    // SAFETY: the caller promises that what is not NULL has so many bytes.
    let secret = unsafe { Input::new(config.server_secret, config.server_secret_bytes) };
    let secret = secret.ok_or(ERROR_INVALID_PARAMETER)?;
    let address = match address {
        Some(address) => {
            let address: IpAddr = address.parse().map_err(|_| ERROR_INVALID_PARAMETER)?;
            local::of_interface(address).map_err(|_| PEERDIST_ERROR_INVALID_CONFIGURATION)?;
            Some(address)
        }
        None => None,
    };
    let versions = match config.versions {
        0 => Published::Both,
        1 => Published::V1,
        2 => Published::V2,
        _ => return Err(ERROR_INVALID_PARAMETER),
    };
    Ok(Settings {
        address,
        port: config.port,
        cache: cache.map(PathBuf::from),
        cache_bytes: config.cache_bytes,
        secret: (secret.len() > 0).then(|| Zeroizing::new(secret.bytes().to_vec())),
        versions,
    })
}

/// # Safety
/// What is not NULL is a string that ends with a zero.
unsafe fn text(pointer: *const c_char) -> Answer<Option<String>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: it is not NULL, and the caller promises the rest.
    let text = unsafe { CStr::from_ptr(pointer) }.to_str().map_err(|_| ERROR_INVALID_PARAMETER)?;
    Ok(Some(text.to_owned()))
}

/// Opens the service and has the thread begin. A service that cannot be as it should is there, and unavailable:
/// PeerDistStartup does not need it (5.1 of the reference).
fn start(life: &mut Life) -> Answer<()> {
    let opened = addresses(&life.settings).and_then(|addresses| {
        let storage = storage::open(life.settings.cache.as_deref(), cache_bytes(&life.settings))?;
        Ok((open(&life.settings, addresses)?, storage))
    });
    let nothing = || -> Result<_, String> { Ok((open(&DEFAULTS, Vec::new())?, storage::open(None, 0)?)) };
    lock(&TROUBLE).clear();
    let ((driver, addresses), storage) = opened
        .or_else(|trouble| {
            *lock(&TROUBLE) = trouble;
            nothing()
        })
        .map_err(|_| PEERDIST_ERROR_SERVICE_UNAVAILABLE)?;
    let subnets: Vec<_> = addresses.iter().map(|local| local.subnet).collect();
    let (port, waker) = (driver.port(), driver.waker());
    let life_now = &*life;
    // A node is made on a stack before it moves to its place, and the caller's may be small.
    let made = thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK_BYTES);
        let node = builder.spawn_scoped(scope, || node(life_now, storage, port, &subnets));
        node.ok()?.join().ok()?.ok()
    });
    let service = made.ok_or(PEERDIST_ERROR_SERVICE_UNAVAILABLE)?;
    *lock(&SERVICE) = Some(Running { service, clock: Clock::new(), waker, stop: false });
    let thread = thread::Builder::new().name("peerdist".into()).spawn(|| guarded(|| drive(driver)));
    life.thread = Some(thread.map_err(|_| {
        *lock(&SERVICE) = None;
        PEERDIST_ERROR_SERVICE_UNAVAILABLE
    })?);
    Ok(())
}

/// Makes the service.
fn node(
    life: &Life,
    storage: Storage,
    port: u16,
    subnets: &[Subnet],
) -> Result<Box<Service>, getrandom::Error> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut seed[..])?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let config = Config {
        port,
        // Seconds, of which those that do not fit matter to nobody.
        instance_id: started as u32,
        reserved_streams: OWN_CONNECTIONS,
        distributed: !subnets.is_empty(),
        ..Config::default()
    };
    let mut node: Machine = Box::new(Node::new(config, storage, SoftCrypto, ChaCha20Rng::from_seed(*seed)));
    node.set_addresses(subnets);
    node.api().set_published(life.settings.versions);
    if let Some(secret) = &life.settings.secret {
        node.api().set_server_secret(secret);
    }
    node.api().set_status(if lock(&TROUBLE).is_empty() { life.status } else { Status::Unavailable });
    Ok(Box::new(Service::new(node, life.generation)))
}

/// Where peers are looked for.
fn addresses(settings: &Settings) -> Result<Vec<Local>, String> {
    let address = settings.address.or_else(local::usual).unwrap_or(IpAddr::from([127, 0, 0, 1]));
    local::of_interface(address).map_err(|error| error.to_string())
}

fn cache_bytes(settings: &Settings) -> u64 {
    match (settings.cache_bytes, &settings.cache) {
        (0, Some(_)) => FOLDER_BYTES,
        (0, None) => MEMORY_BYTES,
        (bytes, _) => bytes,
    }
}

/// Opens the sockets; if there are two addresses, it may be without the second.
fn open(settings: &Settings, mut addresses: Vec<Local>) -> Result<(Driver, Vec<Local>), String> {
    // On loopback all clients have the same address, and whoever can reach it could do worse.
    let shared = addresses.first().is_some_and(|local| local.subnet.address.is_loopback());
    let mut options = Options {
        addresses: addresses.clone(),
        serve: !addresses.is_empty(),
        port: settings.port,
        connections: 2 * CONNECTIONS,
        per_client: if shared { 2 * CONNECTIONS } else { CLIENT_CONNECTIONS },
    };
    let mut driver = Driver::new(&options);
    if driver.is_err() && addresses.len() > 1 {
        addresses.truncate(1);
        options.addresses = addresses.clone();
        driver = Driver::new(&options);
    }
    Ok((driver.map_err(|error| error.to_string())?, addresses))
}

/// A panic is a mistake of ours, and whoever waits shall not wait for ever.
fn guarded(work: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(work)).is_ok() {
        return;
    }
    let mut place = enter();
    let Some(running) = place.as_mut() else { return };
    *lock(&TROUBLE) = "the thread of the service has failed".into();
    // The node may be in no state to be asked; what nobody ends here ends all the same.
    _ = panic::catch_unwind(AssertUnwindSafe(|| running.service.set_status(Status::Unavailable)));
    running.service.abandon();
}

/// The thread.
fn drive(mut driver: Driver) {
    loop {
        let wait = {
            let mut place = enter();
            let Some(Running { service, clock, stop: false, .. }) = place.as_mut() else { return };
            let next = driver.poll(clock.now(), &mut service.node, &mut |_| {});
            let more = service.work();
            // Reads that have ended make room for others, which the node goes on with at once.
            let soon = service.node.poll_timeout(clock.now());
            if more { Some(Duration::ZERO) } else { clock.until(next.into_iter().chain(soon).min()) }
        };
        if driver.wait(wait).is_err() {
            thread::sleep(REST);
        }
    }
}

/// Ends the service once the last instance is closed.
fn stop_if_idle(life: &mut Life) {
    {
        let mut place = enter();
        let Some(running) = place.as_mut().filter(|running| running.service.is_idle()) else { return };
        running.stop = true;
        running.waker.wake();
    }
    if let Some(thread) = life.thread.take() {
        _ = thread.join();
    }
    if let Some(running) = enter().take() {
        life.generation = running.service.generation();
    }
}

fn enter() -> MutexGuard<'static, Option<Running>> {
    let _turn = lock(&TURN);
    lock(&SERVICE)
}

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;
    use crate::exports::common::{PeerDistGetStatus, PeerDistRegisterForStatusChangeNotification};
    use crate::exports::signals::PeerDistGetOverlappedResult;

    #[test]
    fn what_waits_ends_when_the_thread_fails() {
        let _turn = lock(&crate::service::tests::TURN);
        lock(&LIFE).settings = Settings { address: Some(IpAddr::from([127, 0, 97, 1])), ..DEFAULTS };
        let instance = startup(PEERDIST_VERSION).unwrap();
        let mut operation =
            OVERLAPPED { Internal: 0, InternalHigh: 0, Offset: 0, OffsetHigh: 0, hEvent: null_mut() };
        let (operation, mut status, mut bytes) = (&raw mut operation, 0, 0);
        let status = &raw mut status;
        // SAFETY: all of it is ours, and ends before it goes.
        unsafe {
            let register =
                || PeerDistRegisterForStatusChangeNotification(instance, null_mut(), 0, operation, status);
            // The first is told at once.
            assert_eq!(register(), ERROR_IO_PENDING);
            assert_eq!(PeerDistGetOverlappedResult(operation, &raw mut bytes, 1), 1);
            assert_eq!(register(), ERROR_IO_PENDING);
            assert_eq!(PeerDistGetOverlappedResult(operation, &raw mut bytes, 0), 0);
            guarded(|| panic!("a test of it"));
            assert_eq!(PeerDistGetOverlappedResult(operation, &raw mut bytes, 0), 1);
            assert_eq!(set_status(PEERDIST_STATUS_AVAILABLE), Ok(()));
            assert_eq!(PeerDistGetStatus(instance, status), ERROR_SUCCESS);
            assert_eq!(*status, PEERDIST_STATUS_UNAVAILABLE);
            assert!(peerdist_trouble(null_mut(), 0) > 0);
            assert_eq!(shutdown(instance), Ok(()));
            // Nothing of that stays, and no handle is valid again.
            let again = startup(PEERDIST_VERSION).unwrap();
            assert_eq!(PeerDistGetStatus(instance, status), ERROR_INVALID_HANDLE);
            assert_eq!(PeerDistGetStatus(again, status), ERROR_SUCCESS);
            assert_eq!((*status, peerdist_trouble(null_mut(), 0)), (PEERDIST_STATUS_AVAILABLE, 0));
            assert_eq!(shutdown(again), Ok(()));
        }
    }
}
