/** Who is signed in, and whether they still are. */
export class Session {
  #api
  #user
  #onStranger

  /** `onStranger` is called when somebody else is signed in now: nothing on the page is theirs. */
  constructor({ api, user, onStranger }) {
    this.#api = api
    this.#user = user
    this.#onStranger = onStranger
  }

  /** Ask the server: `signedIn` is true, false, or null where it could not say; `answer` is for people to read. */
  async probe() {
    try {
      this.#check(await this.#api.session())
      return { signedIn: true, answer: "200, signed in" }
    } catch ({ status, message }) {
      return { signedIn: status === 401 ? false : null, answer: status ? `${status}, ${message}` : message }
    }
  }

  async signIn(name, password) {
    this.#check(await this.#api.signIn(name, password))
  }

  /** It throws, so that nothing goes on: what this page still has to send must not be said by somebody else. */
  #check({ user }) {
    if (user.id === this.#user.id) return
    this.#onStranger()
    throw new Error("Somebody else is signed in now.")
  }
}
