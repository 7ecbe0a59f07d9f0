//! A machine on the simulated switch: here a test at the other end of the cable, in place of QEMU.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use peerdist_sim::attach::{Gate, Jack};
use peerdist_sim::run::{RunOptions, run};
use peerdist_sim::scenario::{ContentSource, Scenario};

const MACHINE: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// Who has 10.0.0.1, asked by 10.0.9.1 (RFC 826).
fn question() -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &MACHINE, &[0x08, 0x06], &[0, 1, 8, 0, 6, 4, 0, 1]].concat();
    frame.extend_from_slice(&MACHINE);
    frame.extend_from_slice(&[10, 0, 9, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    frame
}

fn read_frame(cable: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    cable.read_exact(&mut length).expect("a length");
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    cable.read_exact(&mut frame).expect("a frame");
    frame
}

#[test]
fn a_machine_talks_to_the_origin_and_lets_the_clients_go() {
    let jack = Jack::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let address = jack.address().expect("an address");
    let gate = Gate::default();
    let opened = gate.clone();
    let machine = thread::spawn(move || {
        let mut cable = TcpStream::connect(address).expect("the switch");
        // So that the test ends where it fails.
        cable.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let question = question();
        cable.write_all(&(question.len() as u32).to_be_bytes()).expect("sent");
        cable.write_all(&question).expect("sent");
        let arp_reply = |frame: &[u8]| frame.get(12..14) == Some(&[8, 6]) && frame.get(21) == Some(&2);
        let answer = std::iter::repeat_with(|| read_frame(&mut cable)).find(|frame| arp_reply(frame));
        opened.open();
        (cable, answer.expect("it repeats for ever"))
    });
    let scenario = Scenario { clients: 2, content: ContentSource::Generated(100_000), ..Scenario::branch() };
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("captures");
    let options = RunOptions { pcap: Some(captures.clone()), jacks: vec![jack], gate: Some(gate) };
    let report = run(&scenario, &options, &mut ()).expect("a run");

    let (_cable, answer) = machine.join().expect("a machine");
    let origin = [2, 0, 0, 0, 0, 0];
    assert_eq!(
        (&answer[..6], &answer[6..12], &answer[28..32]),
        (&MACHINE[..], &origin[..], &[10, 0, 0, 1][..])
    );
    assert!(report.ok());
    let captured = std::fs::metadata(captures.join("machine-01.pcapng")).expect("a capture").len();
    assert!(captured > 300, "{captured}");
}

/// Nobody opens it, and no client asks for anything.
#[test]
fn a_gate_that_stays_shut() {
    let jack = Jack::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let content = ContentSource::Generated(100_000);
    let time_limit = Some(peerdist_core::time::Duration::from_millis(300));
    let scenario = Scenario { clients: 2, content, time_limit, ..Scenario::branch() };
    let options = RunOptions { jacks: vec![jack], gate: Some(Gate::default()), ..RunOptions::default() };
    let report = run(&scenario, &options, &mut ()).expect("a run");
    assert!(!report.ok());
    assert!(report.to_json().contains(r#""wan":{"bytes":0,"#), "{}", report.to_json());
}
