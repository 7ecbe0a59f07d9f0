//! Instances, and the status of the service.

use super::*;

#[test]
fn conformance_01_startup_takes_versions_up_to_ours() {
    for (version, expected) in [
        (0x0001, Ok(())),
        (0x0002, Ok(())),
        // 1.2
        (0x0201, Ok(())),
        // 2.1 and 3.0
        (0x0102, Err(ApiError::VersionUnsupported)),
        (0x0003, Err(ApiError::VersionUnsupported)),
        // 0.1, and what is no version
        (0x0100, Err(ApiError::InvalidParameter)),
        (0, Err(ApiError::InvalidParameter)),
        (0x0001_0002, Err(ApiError::InvalidParameter)),
        (u32::MAX, Err(ApiError::InvalidParameter)),
    ] {
        assert_eq!(node().api().startup(version, USER).map(drop), expected, "{version:#x}");
    }
    assert_eq!(SUPPORTED_VERSION.to_le_bytes(), [2, 0, 0, 0]);
}

#[test]
fn startup_needs_no_service_but_a_row() {
    let mut node = node();
    node.api().set_status(Status::Disabled);
    let instances: Vec<_> = (0..3).map(|_| start(&mut node)).collect();
    assert_eq!(node.api().startup(1, USER), Err(ApiError::Full));
    node.api().shutdown(instances[1]).unwrap();
    let next = start(&mut node);
    assert!(!instances.contains(&next));
    assert_eq!(node.api().status(next).unwrap().status, Status::Disabled);
}

#[test]
fn conformance_03_shutdown_twice_is_an_invalid_handle() {
    let mut node = node();
    let instance = start(&mut node);
    assert_eq!(node.api().shutdown(instance), Ok(()));
    assert_eq!(node.api().shutdown(instance), Err(ApiError::InvalidHandle));
    let again = start(&mut node);
    assert_eq!(node.api().shutdown(instance), Err(ApiError::InvalidHandle));
    assert_eq!(node.api().shutdown(again), Ok(()));
}

#[test]
fn conformance_04_instances_are_independent() {
    let mut node = node();
    let (first, second) = (start(&mut node), start(&mut node));
    publish(&mut node, first, b"a", b"content", 9);
    publish(&mut node, second, b"b", b"content", 9);
    let waiting = node.api().register_status(second, 2).unwrap();
    assert_eq!(ended(&mut node).len(), 1);
    node.api().register_status(second, 2).unwrap();
    let stream = open(&mut node, second, b"c", 0).unwrap();
    node.api().shutdown(first).unwrap();
    assert!(ended(&mut node).is_empty());
    assert_eq!(info_of(&mut node, second, b"a", (0, 0), 1), Err(ApiError::NotFound));
    assert_eq!(info_of(&mut node, second, b"b", (0, 0), 1), Ok(expected(b"content", Version::V1)));
    assert_eq!(add(&mut node, stream, b"c"), Outcome::Taken(1));
    assert!(!node.api().is_pending(waiting));
}

#[test]
fn conformance_05_a_closed_instance_is_an_invalid_handle_to_all() {
    let mut node = node();
    let instance = start(&mut node);
    publish(&mut node, instance, b"there", b"content", 9);
    let stream = open(&mut node, instance, b"growing", 0).unwrap();
    let info = node.api().open_content_information(instance, b"there", 0, 0, 0).unwrap();
    let operation = node.api().retrieve_content_information(info, 9).unwrap();
    node.api().shutdown(instance).unwrap();
    // Another use of its row makes no difference.
    let other = start(&mut node);
    assert_ne!(instance, other);
    let mut api = node.api();
    let versions = InfoVersions { min: 1, max: 2 };
    for refused in [
        api.shutdown(instance).err(),
        api.status(instance).err(),
        api.register_status(instance, 0).err(),
        api.unregister_status(instance).err(),
        api.publish_stream(instance, b"x", 0, PublicationOptions::default(), 0).err(),
        api.add_to_stream(stream, b"x").err(),
        api.complete_stream(stream).err(),
        api.close_stream(stream).err(),
        api.unpublish(instance, b"there").err(),
        api.open_content_information(instance, b"there", 0, 0, 0).err(),
        api.open_content_information_ex(instance, b"there", 0, 0, versions, 0).err(),
        api.retrieve_content_information(info, 1).err(),
        api.copy_content_information(info, 0, &mut [0]).err(),
        api.close_content_information(info).err(),
        api.cancel_server_operation(instance, b"there", operation).err(),
    ] {
        assert_eq!(refused, Some(ApiError::InvalidHandle));
    }
    let [completion] = ended(&mut node)[..] else { panic!("what was pending has ended, and nothing else") };
    assert_eq!((completion.operation, completion.instance), (operation, instance));
    assert_eq!(completion.code(), Code::OperationAborted);
}

#[test]
fn conformance_06_status_tells_the_versions() {
    for (published, expected) in [(Published::V1, (1, 1)), (Published::V2, (2, 2)), (Published::Both, (1, 2))]
    {
        let mut node = node_with(published, 0);
        let instance = start(&mut node);
        for status in [Status::Available, Status::Unavailable, Status::Disabled] {
            node.api().set_status(status);
            let (min_version, max_version) = expected;
            assert_eq!(node.api().status(instance), Ok(StatusInfo { status, min_version, max_version }));
        }
    }
    assert_eq!([Status::Disabled, Status::Unavailable, Status::Available].map(|s| s as u32), [0, 1, 2]);
}

/// The status that a registration ends with.
fn told(node: &mut TestNode) -> Option<Status> {
    match ended(node)[..] {
        [] => None,
        [Completion { outcome: Outcome::Status(info), .. }] => Some(info.status),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn conformance_07_the_first_registration_waits_while_disabled() {
    let mut node = node();
    node.api().set_status(Status::Disabled);
    let instance = start(&mut node);
    let operation = node.api().register_status(instance, 99).unwrap();
    assert_eq!(told(&mut node), None);
    node.api().set_status(Status::Disabled);
    assert_eq!(told(&mut node), None);
    node.api().set_status(Status::Available);
    let [completion] = ended(&mut node)[..] else { panic!("one") };
    let info = StatusInfo { status: Status::Available, min_version: 1, max_version: 2 };
    let handle = Handle::Instance(instance);
    assert_eq!(
        completion,
        Completion { operation, instance, handle, key: 99, outcome: Outcome::Status(info) }
    );
    assert_eq!((completion.code(), completion.bytes(), completion.offset()), (Code::Success, 0, None));
}

#[test]
fn conformance_08_the_first_registration_fires_at_once_when_available() {
    let mut node = node();
    let instance = start(&mut node);
    node.api().register_status(instance, 0).unwrap();
    assert_eq!(told(&mut node), Some(Status::Available));
}

#[test]
fn conformance_09_the_next_registration_waits_for_a_change() {
    let mut node = node();
    let instance = start(&mut node);
    node.api().register_status(instance, 0).unwrap();
    assert_eq!(told(&mut node), Some(Status::Available));
    node.api().register_status(instance, 0).unwrap();
    assert_eq!(told(&mut node), None);
    node.api().set_status(Status::Unavailable);
    assert_eq!(told(&mut node), Some(Status::Unavailable));
    // One shot.
    node.api().set_status(Status::Available);
    assert_eq!(told(&mut node), None);
}

#[test]
fn conformance_10_a_change_between_registrations_is_told() {
    let mut node = node();
    let instance = start(&mut node);
    node.api().register_status(instance, 0).unwrap();
    assert_eq!(told(&mut node), Some(Status::Available));
    node.api().set_status(Status::Disabled);
    node.api().register_status(instance, 0).unwrap();
    assert_eq!(told(&mut node), Some(Status::Disabled));
}

#[test]
fn conformance_11_there_and_back_between_registrations_is_not_told() {
    let mut node = node();
    let instance = start(&mut node);
    node.api().register_status(instance, 0).unwrap();
    assert_eq!(told(&mut node), Some(Status::Available));
    node.api().set_status(Status::Disabled);
    node.api().set_status(Status::Available);
    node.api().register_status(instance, 0).unwrap();
    assert_eq!(told(&mut node), None);
}

#[test]
fn conformance_12_unregistering_cancels_and_lets_register_again() {
    let mut node = node();
    node.api().set_status(Status::Disabled);
    let instance = start(&mut node);
    assert_eq!(node.api().unregister_status(instance), Ok(()));
    let first = node.api().register_status(instance, 5).unwrap();
    assert_eq!(node.api().unregister_status(instance), Ok(()));
    // Its end has not been taken yet: to whoever cancelled it, it is still there.
    assert_eq!(node.api().register_status(instance, 6), Err(ApiError::InvalidParameter));
    let [completion] = ended(&mut node)[..] else { panic!("one") };
    assert_eq!((completion.operation, completion.key), (first, 5));
    assert_eq!(completion.outcome, Outcome::Failed(ApiError::Aborted));
    let second = node.api().register_status(instance, 6).unwrap();
    assert_ne!(first, second);
    node.api().set_status(Status::Unavailable);
    assert_eq!(told(&mut node), Some(Status::Unavailable));
}

#[test]
fn one_registration_for_each_instance() {
    let mut node = node();
    node.api().set_status(Status::Disabled);
    let (first, second) = (start(&mut node), start(&mut node));
    node.api().register_status(first, 1).unwrap();
    assert_eq!(node.api().register_status(first, 1), Err(ApiError::InvalidParameter));
    node.api().register_status(second, 2).unwrap();
    node.api().set_status(Status::Available);
    let keys: Vec<_> = ended(&mut node).iter().map(|completion| completion.key).collect();
    assert_eq!(keys, [1, 2]);
}

#[test]
fn conformance_13_a_service_that_goes_invalidates_handles() {
    for (away, code) in [(Status::Disabled, ApiError::Disabled), (Status::Unavailable, ApiError::Unavailable)]
    {
        let mut node = node();
        let instance = start(&mut node);
        publish(&mut node, instance, b"whole", b"content", 9);
        let whole = open(&mut node, instance, b"whole too", 0).unwrap();
        assert_eq!(add(&mut node, whole, b"x"), Outcome::Taken(1));
        assert_eq!(complete(&mut node, whole), Outcome::Done);
        let stream = open(&mut node, instance, b"growing", 0).unwrap();
        let info = node.api().open_content_information(instance, b"whole", 0, 0, 0).unwrap();
        let pending = [node.api().complete_stream(stream), node.api().retrieve_content_information(info, 9)];
        node.api().set_status(away);
        let completions = ended(&mut node);
        assert!(completions.iter().map(|done| Ok(done.operation)).eq(pending));
        assert!(completions.iter().all(|done| done.code() == Code::Invalidated));

        // G10: they stay so.
        for status in [away, Status::Available] {
            node.api().set_status(status);
            let mut api = node.api();
            for refused in [
                api.add_to_stream(stream, b"x").err(),
                api.complete_stream(stream).err(),
                api.add_to_stream(whole, b"x").err(),
                api.retrieve_content_information(info, 1).err(),
                api.copy_content_information(info, 0, &mut [0]).err(),
            ] {
                assert_eq!(refused, Some(ApiError::Invalidated));
            }
        }
        node.api().set_status(away);
        let mut api = node.api();
        for refused in [
            api.publish_stream(instance, b"x", 0, PublicationOptions::default(), 0).err(),
            api.unpublish(instance, b"whole").err(),
            api.open_content_information(instance, b"whole", 0, 0, 0).err(),
            api.cancel_server_operation(instance, b"whole", pending[1].unwrap()).err(),
        ] {
            assert_eq!(refused, Some(code));
        }
        for closed in [api.close_stream(stream), api.close_stream(whole), api.close_content_information(info)]
        {
            assert_eq!(closed, Ok(()));
        }
        node.api().set_status(Status::Available);
        // What grew is lost, what was complete is there.
        assert_eq!(info_of(&mut node, instance, b"growing", (0, 0), 1), Err(ApiError::NotFound));
        assert_eq!(info_of(&mut node, instance, b"whole", (0, 0), 1), Ok(expected(b"content", Version::V1)));
        assert_eq!(info_of(&mut node, instance, b"whole too", (0, 0), 2), Ok(expected(b"x", Version::V2)));
        publish(&mut node, instance, b"growing", b"again", 9);
        assert_eq!(info_of(&mut node, instance, b"growing", (0, 0), 2), Ok(expected(b"again", Version::V2)));
    }
}
