/**
 * A long list of which only the part in view is in the document.
 *
 * Heights are estimated until a row has been shown once, then known. Padding above and below stands for the rows not shown. Whatever
 * changes, even if rows above appear or grow, the row that the reader looks at stays where it is: every layout begins with an
 * anchor, the first row in view or the end, and ends by scrolling to where that anchor now is.
 */

import { arrange } from "./dom.js";

/** How many pixels beyond the view are rendered, too, on each side. */
const OVERSCAN = 700;
/** Within this distance of the end the reader is "at the end" and stays there. */
const AT_END = 48;
/** How often heights that differ from the estimate may change what is in view. */
const MOST_PASSES = 5;

/** @typedef {{key: string, kind: string}} Row */

export class VirtualList {
  #scroller;
  #list;
  #view;
  #rows = [];
  /** key → place in the rows */
  #places = new Map();
  /** key → pixels, of rows that were shown at this width */
  #heights = new Map();
  /** Where each row begins, and after the last one where the list ends. */
  #tops = new Float64Array(1);
  /** key → {node, stamp} of the rows in the document */
  #shown = new Map();
  #first = 0;
  #end = 0;
  #width = 0;
  #stuck = true;
  #resized;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.scroller
   * @param {HTMLElement} parts.list
   * @param {object} parts.view
   * @param {(row: Row) => HTMLElement} parts.view.build
   * @param {(row: Row) => string} parts.view.stampOf a row is built again when this changes
   * @param {(row: Row) => number} parts.view.estimate pixels
   * @param {() => void} parts.view.moved after every scroll and layout
   */
  constructor({ scroller, list, view }) {
    this.#scroller = scroller;
    this.#list = list;
    this.#view = view;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#resized = new ResizeObserver(() => this.#remeasured());
    this.#resized.observe(scroller);
  }

  /** True while the end is in view; then the list stays there when rows come. */
  get atEnd() {
    return this.#stuck;
  }

  /** The rows, all of them. */
  get rows() {
    return this.#rows;
  }

  /** Pixels from the top of the view to the top of the list, and from the bottom to its end. */
  get room() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    return { above: scrollTop, below: scrollHeight - scrollTop - clientHeight };
  }

  /** Start over, at the end. */
  clear() {
    for (const { node } of this.#shown.values()) this.#resized.unobserve(node);
    this.#shown.clear();
    this.#heights.clear();
    this.#list.replaceChildren();
    this.#setRows([]);
    this.#stuck = true;
  }

  /**
   * Show these rows in place of the others; the reader stays where they are.
   *
   * @param {Row[]} rows with unique keys
   */
  show(rows) {
    const anchors = this.#stuck ? [] : this.#anchors();
    this.#setRows(rows);
    this.#layout(anchors.find(({ key }) => this.#places.has(key)) ?? null);
  }

  /** Build again what has changed in rows that are in the document. */
  refresh() {
    this.#layout(this.#stuck ? null : this.#anchors()[0]);
  }

  /** Go to the end, and stay there. */
  toEnd() {
    this.#stuck = true;
    this.#layout(null);
  }

  /**
   * Bring a row into view.
   *
   * @param {string} key
   * @param {number} [part] how far down the view to place it, from 0 to 1; without it, scroll no further than needed
   * @returns {HTMLElement | null} its node; null if there is no such row
   */
  reveal(key, part) {
    const place = this.#places.get(key);
    if (place === undefined) return null;
    const view = this.#scroller.clientHeight;
    const top = this.#tops[place] - this.#scroller.scrollTop;
    const bottom = this.#tops[place + 1] - this.#scroller.scrollTop;
    let offset = top;
    if (part !== undefined) offset = view * part;
    else if (top < 8) offset = 8;
    else if (bottom > view - 8) offset = Math.max(8, view - 8 - (bottom - top));
    this.#stuck = false;
    this.#layout({ key, offset });
    this.#noticeEnd();
    return this.nodeOf(key);
  }

  /** The node of a row that is in the document now. */
  nodeOf(key) {
    return this.#shown.get(key)?.node ?? null;
  }

  /** The place of a row among the rows, -1 for none. */
  placeOf(key) {
    return this.#places.get(key) ?? -1;
  }

  /** The places of the first and the last row in view. */
  get inView() {
    const { scrollTop, clientHeight } = this.#scroller;
    return { first: this.#at(scrollTop), last: this.#at(scrollTop + clientHeight - 1) };
  }

  #setRows(rows) {
    this.#rows = rows;
    this.#places = new Map(rows.map(({ key }, place) => [key, place]));
    this.#sum();
  }

  #sum() {
    const rows = this.#rows;
    if (this.#tops.length !== rows.length + 1) this.#tops = new Float64Array(rows.length + 1);
    let top = 0;
    for (let i = 0; i < rows.length; i += 1) {
      this.#tops[i] = top;
      top += this.#heights.get(rows[i].key) ?? this.#view.estimate(rows[i]);
    }
    this.#tops[rows.length] = top;
  }

  /** The place of the row at a height. */
  #at(y) {
    let low = 0;
    let high = Math.max(0, this.#rows.length - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The rows in view, messages first, with their distances from the top of the view. */
  #anchors() {
    if (this.#rows.length === 0) return [];
    const { first, last } = this.inView;
    const { scrollTop } = this.#scroller;
    const found = [];
    for (let i = first; i <= last; i += 1) found.push({ key: this.#rows[i].key, kind: this.#rows[i].kind, offset: this.#tops[i] - scrollTop });
    const lasting = found.filter(({ kind }) => kind === "message" || kind === "pending");
    return lasting.length > 0 ? [...lasting, ...found] : found;
  }

  /** Render around an anchor (null: the end) until the heights agree, and scroll to it. */
  #layout(anchor) {
    const view = this.#scroller.clientHeight;
    for (let pass = 0; pass < MOST_PASSES; pass += 1) {
      const top = this.#topFor(anchor, view);
      this.#place(this.#at(top - OVERSCAN), this.#at(top + view + OVERSCAN) + 1);
      if (!this.#measure()) break;
    }
    this.#pad();
    const top = anchor === null ? this.#scroller.scrollHeight - view : this.#topFor(anchor, view);
    // Not for less than a pixel: that would only end the momentum of a finger.
    if (Math.abs(this.#scroller.scrollTop - top) >= 0.5) this.#scroller.scrollTop = top;
    this.#view.moved();
  }

  #topFor(anchor, view) {
    const most = Math.max(0, this.#tops[this.#rows.length] - view);
    if (anchor === null) return most;
    return Math.max(0, this.#tops[this.#places.get(anchor.key)] - anchor.offset);
  }

  /** Put the rows from one place to another into the document, and no others. */
  #place(first, end) {
    const rows = this.#rows.slice(first, end);
    const keys = new Set(rows.map(({ key }) => key));
    const focus = this.#focus();
    for (const [key, { node }] of this.#shown) if (!keys.has(key)) this.#drop(key, node);
    const nodes = rows.map((row) => this.#nodeOf(row));
    arrange(this.#list, nodes);
    this.#first = first;
    this.#end = first + rows.length;
    this.#pad();
    if (focus !== null) this.#refocus(focus);
  }

  #nodeOf(row) {
    const stamp = this.#view.stampOf(row);
    const kept = this.#shown.get(row.key);
    if (kept?.stamp === stamp) return kept.node;
    if (kept) this.#resized.unobserve(kept.node);
    const node = this.#view.build(row);
    node.dataset.key = row.key;
    this.#shown.set(row.key, { node, stamp });
    this.#resized.observe(node);
    return node;
  }

  #drop(key, node) {
    this.#resized.unobserve(node);
    this.#shown.delete(key);
  }

  #pad() {
    const { style } = this.#list;
    style.paddingTop = `${this.#tops[this.#first] ?? 0}px`;
    style.paddingBottom = `${this.#tops[this.#rows.length] - (this.#tops[this.#end] ?? 0)}px`;
  }

  /** Measure the heights of what is shown; true if one differs from the known. */
  #measure() {
    let changed = false;
    for (const [key, { node }] of this.#shown) {
      const { height } = node.getBoundingClientRect();
      const place = this.#places.get(key);
      if (Math.abs(height - (this.#tops[place + 1] - this.#tops[place])) > 0.01) changed = true;
      this.#heights.set(key, height);
    }
    if (changed) this.#sum();
    return changed;
  }

  /** Something in view, or the view itself, has changed size. */
  #remeasured() {
    const width = this.#list.clientWidth;
    // The place in terms of the old heights is what the reader saw.
    const anchor = this.#stuck ? null : this.#anchors()[0];
    if (width !== this.#width) this.#heights.clear();
    this.#width = width;
    this.#layout(anchor ?? null);
  }

  #scrolled() {
    this.#noticeEnd();
    const { scrollTop, clientHeight } = this.#scroller;
    const covered =
      (this.#first === 0 || this.#tops[this.#first] < scrollTop - OVERSCAN / 3) &&
      (this.#end === this.#rows.length || this.#tops[this.#end] > scrollTop + clientHeight + OVERSCAN / 3);
    if (covered || this.#rows.length === 0) this.#view.moved();
    else this.#layout(this.#anchors()[0]);
  }

  #noticeEnd() {
    this.#stuck = this.room.below < AT_END;
  }

  /** What has the focus inside a row: the row, and the element's name in it. */
  #focus() {
    const { activeElement } = document;
    const row = this.#list.contains(activeElement) ? activeElement.closest("[data-key]") : null;
    return row === null ? null : { element: activeElement, key: row.dataset.key, name: activeElement.dataset.focus };
  }

  /** Keep the focus when its row was built again; if the row is gone, the log gets the focus. */
  #refocus({ element, key, name }) {
    if (document.activeElement === element) return;
    const row = this.nodeOf(key);
    const same = row !== null && name !== undefined ? [...row.querySelectorAll("[data-focus]")].find((node) => node.dataset.focus === name) : null;
    (same ?? row ?? this.#scroller).focus({ preventScroll: true });
  }
}
