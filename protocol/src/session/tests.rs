use super::*;

#[test]
fn an_idle_session_is_small() {
    let bytes = size_of::<Session>();
    println!(
        "Session: {bytes} bytes, Event: {} bytes, Frame: {} bytes",
        size_of::<Event>(),
        size_of::<Frame>()
    );
    assert!(bytes <= 200, "{bytes}");
}
