/** The emoji of the picker and their names between colons; those missing here can be typed directly. */

/** @type {[string, string][]} heading, then `name emoji` pairs between commas */
const GROUPS = [
  [
    "Smileys",
    "grinning 😀, smiley 😃, smile 😄, grin 😁, laughing 😆, sweat_smile 😅, joy 😂, rofl 🤣, slightly_smiling_face 🙂, " +
      "upside_down_face 🙃, wink 😉, blush 😊, innocent 😇, heart_eyes 😍, star_struck 🤩, kissing_heart 😘, yum 😋, " +
      "stuck_out_tongue 😛, zany_face 🤪, hugs 🤗, thinking 🤔, zipper_mouth_face 🤐, raised_eyebrow 🤨, neutral_face 😐, " +
      "expressionless 😑, smirk 😏, unamused 😒, roll_eyes 🙄, grimacing 😬, relieved 😌, pensive 😔, sleepy 😪, sleeping 😴, mask 😷, " +
      "nauseated_face 🤢, exploding_head 🤯, cowboy 🤠, partying_face 🥳, sunglasses 😎, nerd 🤓, confused 😕, worried 😟, " +
      "open_mouth 😮, astonished 😲, flushed 😳, pleading_face 🥺, cry 😢, sob 😭, scream 😱, sweat 😓, weary 😩, yawning_face 🥱, " +
      "triumph 😤, angry 😠, rage 😡, skull 💀, poop 💩, clown_face 🤡, ghost 👻, alien 👽, robot 🤖",
  ],
  [
    "People",
    "+1 👍, -1 👎, thumbsup 👍, thumbsdown 👎, ok_hand 👌, pinched_fingers 🤌, v ✌️, crossed_fingers 🤞, metal 🤘, call_me_hand 🤙, " +
      "point_left 👈, point_right 👉, point_up 👆, point_down 👇, raised_hand ✋, wave 👋, clap 👏, raised_hands 🙌, handshake 🤝, " +
      "pray 🙏, writing_hand ✍️, muscle 💪, eyes 👀, brain 🧠, bow 🙇, facepalm 🤦, shrug 🤷, raising_hand 🙋, technologist 🧑‍💻, " +
      "detective 🕵️",
  ],
  [
    "Nature",
    "dog 🐶, cat 🐱, fox_face 🦊, bear 🐻, panda_face 🐼, penguin 🐧, bird 🐦, owl 🦉, bee 🐝, bug 🐛, butterfly 🦋, snail 🐌, " +
      "turtle 🐢, snake 🐍, octopus 🐙, whale 🐳, unicorn 🦄, crab 🦀, cactus 🌵, evergreen_tree 🌲, seedling 🌱, herb 🌿, " +
      "four_leaf_clover 🍀, sunflower 🌻, tulip 🌷, sun ☀️, cloud ☁️, umbrella ☔, zap ⚡, snowflake ❄️, fire 🔥, droplet 💧, " +
      "rainbow 🌈, star ⭐, moon 🌙, earth 🌍",
  ],
  [
    "Food",
    "coffee ☕, tea 🍵, beer 🍺, beers 🍻, wine_glass 🍷, champagne 🍾, apple 🍎, banana 🍌, strawberry 🍓, tomato 🍅, avocado 🥑, " +
      "carrot 🥕, bread 🍞, cheese 🧀, pizza 🍕, hamburger 🍔, taco 🌮, ramen 🍜, sushi 🍣, cookie 🍪, cake 🍰, birthday 🎂, popcorn 🍿",
  ],
  [
    "Things",
    "tada 🎉, balloon 🎈, gift 🎁, trophy 🏆, medal 🏅, dart 🎯, game_die 🎲, musical_note 🎵, art 🎨, camera 📷, computer 💻, " +
      "keyboard ⌨️, phone 📱, battery 🔋, electric_plug 🔌, bulb 💡, flashlight 🔦, wrench 🔧, hammer 🔨, gear ⚙️, package 📦, " +
      "mailbox 📬, memo 📝, pencil ✏️, book 📖, books 📚, bookmark 🔖, link 🔗, paperclip 📎, pushpin 📌, calendar 📅, " +
      "chart_with_upwards_trend 📈, chart_with_downwards_trend 📉, clipboard 📋, lock 🔒, unlock 🔓, key 🔑, mag 🔍, hourglass ⌛, " +
      "alarm_clock ⏰, bell 🔔, no_bell 🔕, moneybag 💰, rocket 🚀, airplane ✈️, train 🚆, bike 🚲, car 🚗, house 🏠, office 🏢, " +
      "construction 🚧",
  ],
  [
    "Signs",
    "heart ❤️, orange_heart 🧡, yellow_heart 💛, green_heart 💚, blue_heart 💙, purple_heart 💜, black_heart 🖤, broken_heart 💔, " +
      "sparkles ✨, boom 💥, 100 💯, white_check_mark ✅, heavy_check_mark ✔️, x ❌, warning ⚠️, no_entry ⛔, question ❓, " +
      "exclamation ❗, bangbang ‼️, recycle ♻️, arrow_up ⬆️, arrow_down ⬇️, arrow_left ⬅️, arrow_right ➡️, new 🆕, ok 🆗, sos 🆘, " +
      "red_circle 🔴, yellow_circle 🟡, green_circle 🟢, blue_circle 🔵, zzz 💤, speech_balloon 💬, white_flag 🏳️, checkered_flag 🏁",
  ],
];

/** Those offered first. */
export const QUICK = ["👍", "❤️", "😂", "🎉", "👀", "✅"];

/** @type {{heading: string, entries: {name: string, emoji: string}[]}[]} */
export const EMOJI = GROUPS.map(([heading, pairs]) => ({
  heading,
  entries: pairs.split(", ").map((pair) => {
    const [name, emoji] = pair.split(" ");
    return { name, emoji };
  }),
}));

const BY_NAME = new Map(EMOJI.flatMap(({ entries }) => entries).map(({ name, emoji }) => [name, emoji]));
const NAMES = new Map([...BY_NAME].reverse().map(([name, emoji]) => [emoji, name]));

/** The emoji of a name without its colons, "" for none. */
export function emojiOf(name) {
  return BY_NAME.get(name) ?? "";
}

/** An emoji's name in words for those who cannot see it; the emoji itself if it has no name here. */
export function nameOf(emoji) {
  const name = NAMES.get(emoji);
  if (name === "+1") return "thumbs up";
  if (name === "-1") return "thumbs down";
  return name?.replaceAll("_", " ") ?? emoji;
}

/**
 * The groups with the entries whose names contain these letters, each emoji once.
 *
 * @param {string} words
 */
export function findEmoji(words) {
  const wanted = words.trim().toLowerCase().replace(/^:|:$/g, "").replaceAll(" ", "_");
  const seen = new Set();
  const fits = ({ name, emoji }) => name.includes(wanted) && !seen.has(emoji) && seen.add(emoji);
  return EMOJI.map(({ heading, entries }) => ({ heading, entries: entries.filter(fits) })).filter(({ entries }) => entries.length > 0);
}
