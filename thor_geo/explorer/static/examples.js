// Positive and negative examples of one unit, and the strokes that made them.

export class Examples {
  constructor() {
    /** 1 for positive, 0 for negative, by place. */
    this.labels = new Map();
    this.strokes = [];
  }

  /** Begin a stroke: all that is painted until the next is undone together. */
  begin() {
    this.strokes.push(new Map());
  }

  /**
   * Paint a place.
   * @param {number} place
   * @param {1 | 0 | undefined} label Undefined erases.
   * @returns {boolean} Whether that changed anything.
   */
  paint(place, label) {
    const before = this.labels.get(place);
    if (before === label) return false;
    const stroke = this.strokes.at(-1);
    if (!stroke.has(place)) stroke.set(place, before);
    this.set(place, label);
    return true;
  }

  /** End a stroke; one that changed nothing is forgotten. */
  end() {
    if (this.strokes.length && !this.strokes.at(-1).size) this.strokes.pop();
  }

  undo() {
    for (const [place, before] of this.strokes.pop() ?? []) this.set(place, before);
  }

  clear() {
    this.begin();
    for (const place of [...this.labels.keys()]) this.paint(place, undefined);
    this.end();
  }

  set(place, label) {
    if (label === undefined) this.labels.delete(place);
    else this.labels.set(place, label);
  }

  get positive() {
    return this.of(1);
  }

  get negative() {
    return this.of(0);
  }

  of(label) {
    return [...this.labels].filter(([, one]) => one === label).map(([place]) => place);
  }
}
