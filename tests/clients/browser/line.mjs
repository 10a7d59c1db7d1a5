// The line between a page and the broker, in the hands of a test.

export class Line {
  /** What the page has sent. */
  sent = [];
  /** Which frames for the page get lost on the way. */
  loses = () => false;
  #isDown = false;
  #cut = () => {};

  /** An option of `Person.join` and `Person.open`. */
  prepare = (page) =>
    page.routeWebSocket(/\/ws$/, (socket) => {
      if (this.#isDown) return void socket.close({ code: 4000, reason: 'The line is down.' });
      const server = socket.connectToServer();
      let isCut = false;
      socket.onMessage((frame) => {
        if (isCut) return;
        this.sent.push(String(frame));
        server.send(frame);
      });
      server.onMessage((frame) => {
        if (!isCut && !this.loses(String(frame))) socket.send(frame);
      });
      this.#cut = () => {
        isCut = true;
        server.close();
        socket.close({ code: 4000, reason: 'The line is down.' });
      };
    });

  /** No connection, without farewell, until `up`. */
  down() {
    this.#isDown = true;
    this.#cut();
  }

  up() {
    this.#isDown = false;
  }

  /** How many frames of the page begin with this command and go to this destination. */
  count(command, destination) {
    return this.sent.filter((frame) => frame.startsWith(`${command}\n`) && frame.includes(`destination:${destination}\n`)).length;
  }
}
