use super::*;
use crate::transport::memory::{Pipe, pipe};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Sent;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

/// A client of another hand, and our side of its connection.
async fn pair(message_bytes_max: usize) -> (WebSocketStream<Pipe>, Connection<Pipe>) {
    let (client, server) = pipe(1 << 10);
    (
        WebSocketStream::from_raw_socket(client, Role::Client, None).await,
        Connection::new(server, &[], message_bytes_max),
    )
}

async fn next(client: &mut WebSocketStream<Pipe>) -> Option<Sent> {
    client.next().await.map(Result::unwrap)
}

async fn send(client: &mut WebSocketStream<Pipe>, message: Sent) {
    client.send(message).await.unwrap();
}

#[tokio::test]
async fn messages_of_any_size_come_back() {
    let (mut client, mut server) = pair(1 << 20).await;
    let echo = tokio::spawn(async move {
        while let Some(Ok(message)) = server.recv().await {
            server.send(&message).await.unwrap();
        }
        server.close(1000, "").await.unwrap();
    });
    for message in [Sent::text("ü"), Sent::text(""), Sent::binary(vec![0xff; 300_000])] {
        send(&mut client, message.clone()).await;
        assert_eq!(next(&mut client).await.unwrap(), message);
    }
    send(&mut client, Sent::Ping("p".into())).await;
    assert_eq!(next(&mut client).await.unwrap(), Sent::Pong("p".into()));
    send(&mut client, Sent::Close(None)).await;
    assert_eq!(next(&mut client).await.unwrap(), Sent::Close(None));
    drop(client);
    echo.await.unwrap();
}

#[tokio::test]
async fn a_misdeed_is_answered_with_its_code_and_told_once() {
    let (mut client, mut server) = pair(10).await;
    send(&mut client, Sent::binary(vec![0; 11])).await;
    let told = server.recv().await.unwrap().unwrap_err();
    assert!(matches!(told, Closed::Framing(FramingError::TooLarge { .. })), "{told}");
    assert!(server.recv().await.is_none());
    assert!(server.send(&Message::Text(String::new())).await.is_err(), "nothing may follow a close");
    let closing = tokio::spawn(server.close(1000, ""));
    let close = next(&mut client).await.unwrap();
    assert!(matches!(close, Sent::Close(Some(CloseFrame { code: CloseCode::Size, .. }))), "{close:?}");
    drop(client);
    closing.await.unwrap().unwrap();
}

#[tokio::test]
async fn messages_before_the_end_are_answered_before_it() {
    let text = [0x81, 0x81, 0, 0, 0, 0, b'x'];
    let close = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8];
    let reserved = [0x83, 0x80, 0, 0, 0, 0];
    for (last, code) in [(&close[..], 1000u16), (&reserved[..], 1002)] {
        let (mut client, server) = pipe(1 << 10);
        let mut server = Connection::new(server, &[&text, last].concat(), 10);
        let message = server.recv().await.unwrap().unwrap();
        server.send(&message).await.unwrap();
        assert!(!matches!(server.recv().await, Some(Ok(_))));
        let closing = tokio::spawn(server.close(4000, "too late"));
        let mut answer = [0; 7];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..3], [0x81, 1, b'x']);
        assert_eq!((answer[3], u16::from_be_bytes([answer[5], answer[6]])), (0x88, code));
        drop(client);
        closing.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_was_read_with_the_handshake_is_not_lost() {
    let (_client, server) = pipe(1 << 10);
    let mut server = Connection::new(server, &[0x81, 0x81, 0, 0, 0, 0, b'x'], 10);
    assert_eq!(server.recv().await.unwrap().unwrap(), Message::Text("x".into()));
}

#[tokio::test]
async fn a_stream_that_ends_without_a_close_frame_is_told() {
    let (client, mut server) = pair(10).await;
    drop(client);
    assert!(matches!(server.recv().await, Some(Err(Closed::Io(_)))));
    assert!(server.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_without_reading_the_answers_is_not_read_for_ever() {
    let (mut client, mut server) = pair(10).await;
    let receiving = tokio::spawn(async move { server.recv().await.is_some() });
    let mut refused = false;
    for _ in 0..10_000 {
        let ping = send(&mut client, Sent::Ping(vec![0; 100].into()));
        if tokio::time::timeout(Duration::from_secs(1), ping).await.is_err() {
            refused = true;
            break;
        }
    }
    assert!(refused, "1 MB of pings was read although no pong was taken");
    receiving.abort();
}
