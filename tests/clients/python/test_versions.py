"""What every version of STOMP has in common, over TCP and TLS, told by `stomp.py`."""

from kinds import since_1_1
from peer import unique


def test_connected_says_version_session_server_and_user(connected, version):
    alice = connected()
    assert alice.session.get("version") == version
    assert alice.session["user-name"] == "alice"
    assert alice.session["server"].startswith("stompede/")
    assert alice.session["session"]


def test_a_subscriber_gets_each_message_once_in_order_as_it_was_sent(connected):
    alice, bob = connected(), connected("bob")
    topic = f"/topic/{unique('order')}"
    inbox = alice.subscribe(topic)
    sent = [f"{number} äöü 🦬".encode() for number in range(300)]
    for body in sent:
        bob.publish(topic, body)
    assert inbox.bodies(len(sent)) == sent
    bob.send(topic, b"last", content_type="text/plain", x_mine="kept")
    message = inbox.next()
    assert message.body == b"last"
    assert message.headers["destination"] == topic
    assert message.headers["subscription"] == inbox.id
    assert message.headers["content-type"] == "text/plain"
    assert message.headers["content-length"] == "4"
    assert message.headers["x-mine"] == "kept"
    assert message.headers["user-name"] == "bob"
    assert message.headers["message-id"]


def test_after_unsubscribe_nothing_comes_any_more(connected):
    alice = connected()
    topic = f"/topic/{unique('left')}"
    first = alice.subscribe(topic, id="first")
    alice.settled(lambda receipt: alice.connection.unsubscribe(id="first", receipt=receipt))
    alice.send(topic, b"to nobody")
    second = alice.subscribe(topic, id="second")
    alice.send(topic, b"to the second")
    assert second.next().body == b"to the second"
    assert first.empty()


def test_wildcards_one_segment_and_the_rest(connected):
    alice = connected()
    root = f"/topic/{unique('wild')}"
    one, rest = alice.subscribe(f"{root}/*/end"), alice.subscribe(f"{root}/**")
    for path in ("a/end", "a/b/end", "end", "z/end"):
        alice.send(f"{root}/{path}", path.encode())
    assert rest.bodies(4) == [b"a/end", b"a/b/end", b"end", b"z/end"]
    assert one.bodies(2) == [b"a/end", b"z/end"]
    assert one.empty()


def test_every_frame_that_asks_gets_its_receipt(connected, version):
    alice = connected()
    queue = f"/queue/{unique('receipts')}"
    inbox = alice.subscribe(queue, ack="client")
    alice.send(queue, b"one")
    alice.send(queue, b"two")
    first, second = inbox.next(), inbox.next()
    alice.ack(first)
    if version == "1.0":
        alice.ack(second)
    else:
        alice.nack(second, requeue="false")
    connection = alice.connection
    alice.settled(lambda receipt: connection.begin("t", receipt=receipt))
    alice.settled(lambda receipt: connection.commit("t", receipt=receipt))
    alice.settled(lambda receipt: connection.begin("t", receipt=receipt))
    alice.settled(lambda receipt: connection.abort("t", receipt=receipt))
    alice.settled(lambda receipt: connection.unsubscribe(id=inbox.id, receipt=receipt))
    alice.leave()


def test_ack_client_covers_all_before_and_the_rest_comes_back_in_order(connected):
    alice, bob = connected(), connected("bob")
    queue = f"/queue/{unique('client')}"
    inbox = alice.subscribe(queue, ack="client")
    for body in (b"1", b"2", b"3", b"4"):
        bob.send(queue, body)
    messages = [inbox.next() for _ in range(4)]
    assert [message.headers.get("redelivered", "false") for message in messages] == ["false"] * 4
    alice.ack(messages[1])
    alice.drop()
    again = bob.subscribe(queue, ack="client")
    bob.send(queue, b"5")
    seen = [again.next() for _ in range(3)]
    assert [message.body for message in seen] == [b"3", b"4", b"5"]
    assert [message.headers["redelivered"] for message in seen] == ["true", "true", "false"]


@since_1_1
def test_ack_client_individual_settles_one_message_alone(connected):
    alice, bob = connected(), connected("bob")
    queue = f"/queue/{unique('individual')}"
    inbox = alice.subscribe(queue, ack="client-individual")
    for body in (b"1", b"2", b"3"):
        bob.send(queue, body)
    messages = [inbox.next() for _ in range(3)]
    alice.ack(messages[1])
    alice.leave()
    assert bob.subscribe(queue, ack="client-individual").bodies(2) == [b"1", b"3"]


@since_1_1
def test_nack_hands_the_message_to_another_consumer(connected):
    alice, bob = connected(), connected("bob")
    queue = f"/queue/{unique('nack')}"
    mine = alice.subscribe(queue, ack="client-individual")
    bob.send(queue, b"unwanted")
    refused = mine.next()
    his = bob.subscribe(queue, ack="client-individual")
    alice.nack(refused)
    message = his.next()
    assert message.body == b"unwanted"
    assert message.headers["redelivered"] == "true"
    bob.ack(message)


def test_commit_delivers_in_order_and_abort_forgets(connected):
    alice, bob = connected(), connected("bob")
    topic = f"/topic/{unique('transaction')}"
    inbox = bob.subscribe(topic)
    connection = alice.connection
    connection.begin("kept")
    connection.begin("dropped")
    alice.publish(topic, b"1", transaction="kept")
    alice.publish(topic, b"never", transaction="dropped")
    alice.publish(topic, b"2", transaction="kept")
    alice.send(topic, b"0")
    connection.abort("dropped")
    connection.commit("kept")
    assert inbox.bodies(3) == [b"0", b"1", b"2"]
    connection.begin("open")
    alice.publish(topic, b"never", transaction="open")
    alice.leave()
    bob.send(topic, b"end")
    assert inbox.bodies(1) == [b"end"]


def test_an_ack_in_an_aborted_transaction_can_be_done_again(connected):
    alice = connected()
    queue = f"/queue/{unique('undone')}"
    inbox = alice.subscribe(queue, ack="client")
    alice.send(queue, b"once")
    message = inbox.next()
    alice.connection.begin("t")
    alice.connection.ack(*alice._named(message), transaction="t")
    alice.connection.abort("t")
    alice.ack(message)
    alice.leave()
    bob = connected("bob")
    later = bob.subscribe(queue)
    bob.send(queue, b"next")
    assert later.next().body == b"next"


def test_binary_bodies_come_back_byte_for_byte(connected):
    alice = connected()
    topic = f"/topic/{unique('binary')}"
    inbox = alice.subscribe(topic)
    body = bytes(range(256)) * 4
    alice.send(topic, body, content_type="application/octet-stream")
    message = inbox.next()
    assert message.body == body
    assert message.headers["content-type"] == "application/octet-stream"
    alice.send(topic, b"")
    assert inbox.next().body == b""


def test_bodies_of_900_kib_pass(connected):
    alice = connected()
    topic = f"/topic/{unique('large')}"
    inbox = alice.subscribe(topic)
    body = b"stampede!" * (900 * 1024 // 9)
    alice.send(topic, body)
    assert inbox.next().body == body


def test_header_values_survive_their_escapes(connected, version):
    alice = connected()
    topic = f"/topic/{unique('escapes')}"
    inbox = alice.subscribe(topic)
    odd = "a:b" if version == "1.0" else "colon: backslash\\ newline\n end"
    if version == "1.2":
        odd += "\r"
    alice.send(topic, b"x", odd=odd)
    assert inbox.next().headers["odd"] == odd


def test_user_queues_reach_one_user_and_nobody_else(connected):
    desk, phone, bob = connected(), connected(), connected("bob")
    name = f"/queue/{unique('notes')}"
    inboxes = [desk.subscribe(f"/user{name}"), phone.subscribe(f"/user{name}")]
    bobs = bob.subscribe(f"/user{name}")
    bob.send(f"/user/alice{name}", b"for alice")
    for inbox in inboxes:
        message = inbox.next()
        assert message.body == b"for alice"
        assert message.headers["destination"] == f"/user{name}"
        assert message.headers["user-name"] == "bob"
    desk.send(f"/user/bob{name}", b"for bob")
    assert bobs.bodies(1) == [b"for bob"]


def test_a_worker_answers_to_a_temp_queue(connected):
    service, alice = connected("guest"), connected()
    app = f"/app/{unique('quote')}"
    work = service.subscribe(app)
    alice.send(app, b"price?", reply_to="/temp-queue/answers")
    request = work.next()
    assert request.headers["user-name"] == "alice"
    service.send(request.headers["reply-to"], b"42")
    answer = alice.strays.next()
    assert answer.body == b"42"
    assert answer.headers["subscription"] == "/temp-queue/answers"


@since_1_1
def test_heart_beats_go_both_ways(connected):
    alice = connected(heartbeats=(1_000, 1_000))
    assert alice.session["heart-beat"] == "1000,1000"
    # Four of theirs; by then they would have given us up, had we sent none.
    for _ in range(4):
        alice.heartbeats.next()
    alice.send(f"/topic/{unique('alive')}")
    assert alice.disconnects.empty()


@since_1_1
def test_a_client_that_promised_heart_beats_and_sends_none_is_ended(opened):
    alice = opened()
    # stomp.py itself keeps its promise, so the promise is made behind its back.
    alice.connect(**{"heart-beat": "1000,0"})
    assert alice.ended()["error-code"] == "heart-beat-lost"


def test_a_wrong_passcode_is_refused(opened):
    mallory = opened()
    mallory.connection.connect("alice", "wrong", wait=False)
    error = mallory.ended()
    assert error["error-code"] == "unauthorized"
    assert mallory.connected.empty()


def test_a_refusal_is_an_error_that_names_the_frame_and_the_end(connected):
    alice = connected()
    alice.publish("/topic/a//b", b"x", receipt="mine")
    error = alice.ended()
    assert error["error-code"] == "bad-destination"
    assert error["receipt-id"] == "mine"
    assert error["message"]


def test_with_user_queue_errors_open_a_refusal_comes_there(connected):
    alice = connected()
    errors = alice.subscribe("/user/queue/errors")
    alice.publish("/reply-queue/guess", b"x", receipt="mine")
    refusal = errors.next()
    assert b'"no-such-reply"' in refusal.body
    assert b'"mine"' in refusal.body
    alice.send(f"/topic/{unique('still')}", b"here")
