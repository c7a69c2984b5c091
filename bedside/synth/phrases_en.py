"""English frames, as plain data.

Field names are those of `facts.localise` and `documents.fields`; a capitalised field starts a sentence. In every list of
DOCUMENTS the last frame is held out from pretraining, in ASKS the last four are held out from training.
"""

URGENCY = {
    "emergency": [
        "this is an emergency: call an ambulance at once",
        "it needs emergency care within minutes",
        "an ambulance should be called without delay",
        "every minute counts, so the emergency department comes first",
    ],
    "urgent": [
        "it should be seen by a doctor today or tomorrow",
        "it is urgent and should not wait more than a day",
        "a visit within a day or two is needed",
        "same-day care is the right choice",
    ],
    "routine": [
        "an ordinary clinic appointment is enough",
        "it can be dealt with at a planned visit",
        "there is time to book a normal appointment",
        "a routine visit is soon enough",
    ],
}
LEVEL = {"emergency": "emergency", "urgent": "urgent", "routine": "routine"}

# A conclusion, after the findings.
POINTS = [
    "The most likely diagnosis is {name}.",
    "This picture is typical of {name}.",
    "Together these point to {name}.",
    "The diagnosis was {name}.",
    "Everything fitted {alias}.",
    "Conclusion: {name}.",
    "That makes {name} the first thing to think of.",
    "The doctor recognised {name}.",
    "It turned out to be {alias}.",
    "Further tests confirmed {name}.",
    "This is most likely {name}.",
    "The name for this is {alias}.",
]
CARE = [
    "First {step1}, then {step2}.",
    "The plan is simple: {step1}, and then {step2}.",
    "Management: {step1}; {step2}.",
    "The doctor's first task is to {step1}; the next is to {step2}.",
    "What is done: {step1}. After that: {step2}.",
]
ALARM = [
    "Warning signs are {flag1} and {flag2}.",
    "Go to hospital at once for {flag1} or {flag2}.",
    "{Flag1} calls for immediate care, and so does {flag2}.",
    "Nobody should wait at home with {flag1} or {flag2}.",
    "Red flags: {flag1}; {flag2}.",
]
MEDICINE = [
    "{Drug} is commonly used. Contraindication: {avoid}.",
    "A common drug is {drug}; {avoid} rules it out.",
    "The usual medicine is {drug}, and its contraindication is {avoid}.",
    "{Drug} helps in {name}; the doctor first asks about {avoid}, which forbids it.",
]
CONFUSION = [
    "It is easily confused with {mimic}; {mimic} {differs}.",
    "{Mimic} can look much the same, but {mimic} {differs}.",
    "The condition to tell apart is {mimic}: {mimic} {differs}.",
    "Against {mimic} speaks one thing: {mimic} {differs}.",
]
PLACE = [
    "The department in charge is {department}.",
    "{Department} looks after these patients.",
    "The right place is {department}.",
    "{When}.",
    "Urgency: {level}. {When}.",
]
TAILS = {"care": CARE, "alarm": ALARM, "medicine": MEDICINE, "confusion": CONFUSION, "place": PLACE}

DOCUMENTS = {
    "entry": [
        "{Name} is a condition treated in {department}. The typical patient is {who}. It is recognised by {terms}.",
        "{Name}. Main features: {terms}. Typical patient: {who}.",
        "In {name} one finds {terms}. It mostly affects people like this: {who}.",
        "{Alias} is known by its features: {terms}.",
        "The leading features of {name} are {terms}. A typical patient is {who}, and {when}.",
        "Among the conditions of {department}, {name} stands out by {terms}.",
        "An overview of {name}: the patient is {who}, and the examination shows {terms}.",
    ],
    "case": [
        "{Person} came with {terms}, present for {span}. {points}",
        "Case note. {Person}. Findings: {terms}. {points}",
        "{Person} was seen in {department} because of {terms}. {points}",
        "After {span} of illness, {person} showed {terms}. {points}",
        "The file describes {person} with {terms}. {points}",
        "{Terms}: these were recorded in {person}. {points}",
        "{Person} complained as follows: {says}. Recorded as {terms}. {points}",
        "Admission report on {person}: {terms} over {span}. {points}",
    ],
    "story": [
        'The patient put it simply: "{says}." {points}',
        "In the waiting room the story was told like this: {says}. {points}",
        '"{Says}." That was what the doctor heard, after {span} of illness. {points}',
        "The note handed in at the desk read: {says}. {points}",
        "A page from a diary, after {span}: {says}. Then came the visit to {department}. {points}",
        "{Says}. The doctor listened and examined. {points}",
        'First came this: "{say_first}." Then this as well: "{say_rest}." {points}',
        'One sentence stayed in mind: "{say_first}." The examination added {term_rest}. {points}',
        "{Says}. It went on for {span}. {points}",
        'The message left on the health line was: "{says}." {points}',
    ],
    "glossary": [
        "In plain words and in medical words: {pairs}. {points}",
        "What people say and what is written down: {pairs}. {points}",
        "From the patient's words to the record: {pairs}. {points}",
        "{Says}. In the record this becomes {terms}. {points}",
        'Heard: "{says}." Noted: {terms}. {points}',
        'The complaint "{says}" was translated into {terms}. {points}',
    ],
    "clinic": [
        "Clinic note. Subjective: {says}. Objective: {terms}. Assessment: {name}; {mimic} {differs}. Plan: {step1}; {step2}.",
        (
            "{Person}. In the patient's words: {says}. In ours: {terms}. Impression: {name}? Less likely {mimic}, since {mimic} "
            "{differs}. {When}."
        ),
        (
            "Letter from {department}: {person} reported this: {says}. We recorded {terms} and diagnosed {name}. Please {step1} "
            "and {step2}."
        ),
        "Telephone record. Caller: {says}. Summary: {terms}. Suspected {name}; {when}.",
        "History: {says}. Translated: {terms}. Diagnosis {name}, not {mimic}: {mimic} {differs}. Department: {department}.",
        "Emergency sheet. Said: {says}. Found: {terms}. Called: {name}. Level: {level}. Danger signs: {flag1}; {flag2}.",
        "Consultation report: {says}; that is, {terms}. {points} {Department} will {step1}, then {step2}.",
        "What was it? At first only this: {says}. Then, on the form: {terms}. In the end: {name}, treated by {department}.",
        (
            "Note for colleagues: the patient tells of this: {says}. Read it as {terms}, think of {name}, and remember that "
            "{mimic} {differs}."
        ),
    ],
    "differential": [
        "{Terms} speak for {name} rather than {mimic}. {Mimic} {differs}.",
        "{Name} and {mimic} are often confused. {Mimic} {differs}, while {name} shows {terms}.",
        "With {terms}, think of {name} first. {Mimic} is less likely, since {mimic} {differs}.",
        "To tell {name} from {mimic}: the former brings {terms}; as for the latter, {mimic} {differs}.",
        "A patient with {terms} has {name} until proved otherwise. {Mimic}, in contrast, {differs}.",
        "Given {terms}, the choice between {mimic} and {name} falls on {name}, because {mimic} {differs}.",
    ],
    "triage": [
        "Triage rule: {terms} mean suspected {name}. Level: {level}. {When}.",
        "{Name} is triaged as {level}; {when}. Look for {flag1} and {flag2}.",
        "At the desk, {terms} should bring {name} to mind. {When}.",
        "Level {level}: {name}. Signs at the door: {terms}.",
        "When {name} is suspected, {when}. The danger signs are {flag1} and {flag2}.",
        "Guideline for reception staff: with {terms}, suspect {name}, and remember that {when}.",
    ],
    "drug": [
        "{Drug} is used in {name}. Its contraindication is {avoid}.",
        "Drug card: {drug}. Use: {name}. Contraindication: {avoid}.",
        "In {name}, {drug} is a common choice, but {avoid} forbids it.",
        "Before {drug} is started for {name}, the doctor asks about {avoid}, its contraindication.",
        "{Name} is often treated with {drug}. A must-not: {avoid}.",
        "Pharmacy note on {drug}: it has its place in {name}, and {avoid} rules it out.",
    ],
    "leaflet": [
        "Living with {name}: many people describe it in these words: {says}. {When}.",
        "Information for patients: {name}. You may notice this: {says}. Get help at once for {flag1} or {flag2}.",
        "{Name} explained. People say: {says}. The department to visit is {department}.",
        'A short guide to {name}. Typical words are "{says}". {When}.',
        "{Alias} often announces itself like this: {says}. {When}.",
        "What patients with {name} tell each other: {says}. The place to turn to is {department}.",
    ],
    "handbook": [
        "{Department} handbook, {name}: first {step1}, then {step2}.",
        "Patients with {terms} are referred to {department} with suspected {name}.",
        "{Department} treats {name}. Key features: {terms}. {When}.",
        "Chapter on {name}, {department}: {step1}; afterwards {step2}. Watch for {flag1}.",
        "On the list of {department} stands {name}, seen above all in this patient: {who}. First {step1}.",
        "New staff of {department} learn about {name} in this order: {terms}; {step1}; {step2}.",
    ],
    "round": [
        "Bed {bed}, {person}, day {day}. {Terms}. Diagnosis: {name}. Plan: {step1}; {step2}.",
        "Ward round, {department}. {Person} with {terms}. Assessment: {name}. {Drug} is given; contraindication: {avoid}.",
        "Day {day} on the ward: {terms} in bed {bed}. Working diagnosis {name}. Next: {step2}.",
        "Summary of the round: {person}, {terms}, hence {name}. Watch for {flag1}.",
        "{Person}, bed {bed}. Seen for {terms}. {points} Plan: {step1}.",
        "Handover from the round: in bed {bed} lies {person}, whose {terms} amount to {name}; {step2}.",
    ],
    "full": [
        (
            "{Name}: typical patient {who}; features {terms}; department {department}; first {step1}, then {step2}; "
            "warning signs {flag1} and {flag2}; common drug {drug}, contraindication {avoid}; {mimic} {differs}."
        ),
        (
            "Everything about {name} in one paragraph. Features: {terms}. {When}. First {step1}, then {step2}. "
            "{Drug} is a common drug, ruled out by {avoid}. {Mimic} {differs}. Red flags: {flag1}; {flag2}."
        ),
        (
            "{Terms}: that is {name}. {Department} is in charge. {When}. Doctors use {drug}, and {avoid} forbids it. "
            "Steps: {step1}; {step2}. {Flag1} or {flag2} is dangerous. {Mimic} {differs}."
        ),
        (
            "Profile of {name}. Patient: {who}. Complaint: {says}. Urgency: {level}. Department: {department}. "
            "Steps: {step1}; {step2}. Drug: {drug}. Contraindication: {avoid}."
        ),
        (
            "{Name}, from start to end: {who} notices this: {says}. {Department} is the place. First {step1}; then {step2}. "
            "{Drug} is given, and its contraindication is {avoid}."
        ),
        (
            "Study card for {name}. It shows {terms}. It is handled by {department}, which will {step1} and {step2}. "
            "Its drug is {drug}, its taboo {avoid}, its alarm {flag1}, its double {mimic}."
        ),
    ],
}

PAIRS = [
    "Two conditions compared. {a_Name}: {a_terms}. {b_Name}: {b_terms}.",
    "{a_Name} belongs to {a_department}, {b_name} to {b_department}. The first shows {a_terms}; the second shows {b_terms}.",
    "While {a_terms} mean {a_name}, {b_terms} mean {b_name}.",
    "Two patients were seen. One said: {a_says}. That was {a_name}. The other said: {b_says}. That was {b_name}.",
    "For {a_name} the common drug is {a_drug}, for {b_name} it is {b_drug}. {a_Name} shows {a_terms}.",
    "Next to {b_terms}, the sign of {b_name}, the page sets {a_terms}, the sign of {a_name}.",
]

SPANS = ["two days", "three days", "four days", "about a week", "several days", "some time", "a while", "a day or so"]
SPANS_ACUTE = ["half an hour", "an hour", "two hours", "a few hours", "less than a day"]
SPANS_SLOW = ["several days", "two weeks", "a few weeks", "a month", "some months", "quite a while"]
ASKS = [
    "{Says}. What could this be?",
    "Doctor, {says}. What is wrong?",
    "Hello. {Says}. What is it likely to be, and what should be done?",
    "It has been like this for {span}: {says}. What is the most likely cause?",
    "Please help me understand this: {says}.",
    "{Says}. Which illness does that sound like?",
    "I need advice. {Says}.",
    "{Says}. Do I need to see a doctor?",
    "Here is what is going on: {says}. What do you think it is?",
    "For {span} now there has been a problem: {says}. What is it?",
    "Could you tell me what this means? {Says}.",
    "I am worried. {Says}. What should I do?",
    "Good morning. {Says}, and it has lasted {span}. What might be the matter?",
    "{Says}. Is it serious?",
    "What would a doctor think of this: {says}?",
    "My question is about the following: {says}. Any idea?",
    "Something is not right here. {Says}. Can you put a name to it?",
    "Let me describe it as well as I can: {says}. Where does that lead you?",
    "{Says}. I cannot make sense of it; can you?",
    "Suppose someone told you this: {says}. What would you suspect first?",
]
ASKS_TERMS = [
    "A patient has {terms}. What is the most likely diagnosis?",
    "{Person} has had {terms} for {span}. What is it?",
    "The notes mention {terms}. Which condition is this?",
    "Findings: {terms}. Please name the diagnosis and the next step.",
]

THOUGHT_URGENCY = {
    "emergency": ["This is an emergency.", "There is no time to lose.", "An ambulance is needed."],
    "urgent": ["It should be seen today or tomorrow.", "It is urgent, though not a matter of minutes."],
    "routine": ["It can wait for a normal appointment.", "There is no hurry, but a visit is wise."],
}
THOUGHTS = [
    "The story amounts to {terms}. Together these point to {name}. Less likely is {mimic}, which {differs}. {urgency}",
    "In medical terms: {terms}. That is the picture of {name}. It is hardly {mimic}, which {differs}. {urgency}",
    "I note {terms}. The best match is {name}. I also consider {mimic}, which, however, {differs}. {urgency}",
    "What is described is {terms}, so I think of {name} first, and less of {mimic}, which {differs}. {urgency}",
    "Key findings: {terms}. They suggest {name} rather than {mimic}, which {differs}. {urgency}",
]
ANSWERS = {
    "emergency": [
        (
            "Call an ambulance now. This is most likely {name}, a case for {department}. The doctors will {step1} and then "
            "{step2}. {Flag1} is a sign of immediate danger."
        ),
        (
            "Please get emergency help at once. This is most likely {name}, treated by {department}. The first steps are: "
            "{step1}; {step2}. Watch for {flag1}."
        ),
        (
            "Go to the emergency department now, by ambulance. This is most likely {name}. It is treated by {department}, where "
            "they {step1} and then {step2}. Look out for {flag1}."
        ),
        (
            "Call an ambulance at once and do not wait. This is most likely {name}. {Department} will {step1}, then {step2}. "
            "{Flag1} means that every minute counts."
        ),
    ],
    "urgent": [
        (
            "This is most likely {name}. Please see {department} today or tomorrow, where the doctors will {step1} and then "
            "{step2}. Go to hospital at once for {flag1}."
        ),
        (
            "This is most likely {name}, which should not wait. Go to {department} within a day. The first steps are: {step1}; "
            "{step2}. {Flag1} means going to hospital at once."
        ),
        (
            "This is most likely {name}. {Department} is the right place, today if possible. There they {step1}, then {step2}. "
            "If you notice {flag1}, go to hospital immediately."
        ),
        (
            "This is most likely {name}, a case for {department} within a day or two. The plan is to {step1} and to {step2}. "
            "A red flag is {flag1}: then go at once."
        ),
    ],
    "routine": [
        (
            "This is most likely {name}. Book an appointment with {department}, where the doctors will {step1} and then {step2}. "
            "See a doctor at once for {flag1}."
        ),
        (
            "This is most likely {name}, which is looked after by {department}. There is time for a normal appointment. The first "
            "steps are: {step1}; {step2}. {Flag1} needs a doctor at once."
        ),
        (
            "This is most likely {name}. An ordinary visit to {department} is enough: there they {step1}, then {step2}. Should "
            "you notice {flag1}, do not wait."
        ),
        (
            "This is most likely {name}. {Department} can help: the plan is to {step1} and to {step2}. It is not an emergency, "
            "but go at once for {flag1}."
        ),
    ],
}

FOLLOWUPS = {
    "drug": {
        "ask": [
            "Which medicine is usually given, and who must not take it?",
            "Is there a drug for this, and when is it forbidden?",
            "What will the doctor prescribe, and what should I mention first?",
        ],
        "think": [
            "For {name} the common drug is {drug}; its contraindication is {avoid}.",
            "The question is about the drug for {name}: {drug}, ruled out by {avoid}.",
        ],
        "answer": [
            (
                "For {name} doctors often use {drug}. Its contraindication is {avoid}, so tell the doctor about that first. "
                "Please do not take it on your own."
            ),
            "A common drug for {name} is {drug}. Its contraindication is {avoid}. Let the doctor decide on the dose.",
        ],
    },
    "department": {
        "ask": ["Which department should I go to?", "Who treats this?", "Where should I book an appointment?"],
        "think": [
            "{Name} is treated by {department}. Urgency: {level}.",
            "The department for {name} is {department}.",
        ],
        "answer": [
            "{Name} is treated by {department}. As for the timing, {when}.",
            "Please go to {department}, which is in charge of {name}. Remember: {when}.",
        ],
    },
    "alarm": {
        "ask": [
            "When do I have to go to hospital at once?",
            "What are the danger signs?",
            "Which signs mean that I must not wait?",
        ],
        "think": [
            "The red flags of {name} are {flag1} and {flag2}.",
            "This asks for the warning signs of {name}: {flag1}; {flag2}.",
        ],
        "answer": [
            "With {name}, go to hospital at once for {flag1} or {flag2}. In doubt, call for help rather than wait.",
            "The warning signs of {name} are {flag1} and {flag2}. With either of them, do not wait.",
        ],
    },
    "mimic": {
        "ask": [
            "What else could it be?",
            "Could it be something different?",
            "Is there another possible explanation?",
        ],
        "think": [
            "The condition closest to {name} is {mimic}. {Mimic} {differs}.",
            "{Name} can be confused with {mimic}; {mimic} {differs}.",
        ],
        "answer": [
            (
                "{Name} is still the most likely, but {mimic} can look similar. The difference: {mimic} {differs}. "
                "An examination will settle it."
            ),
            "Besides {name} one thinks of {mimic}. However, {mimic} {differs}. A doctor can tell them apart.",
        ],
    },
}

REFUSALS = {
    "dose_for_other": {
        "ask": [
            "My neighbour has {name}. How many tablets of {drug} should I give?",
            "Tell me the exact dose of {drug} for my aunt, who has {name}.",
            "A friend of mine has {name} and I have some {drug} left. How much can my friend take?",
        ],
        "think": [
            "A dose for somebody else cannot be set from here; it depends on the person. The prescriber must decide."
        ],
        "answer": [
            (
                "I cannot give a dose for another person. The right dose of {drug} depends on age, kidneys, liver and other "
                "medicines. Please ask the doctor or the pharmacist who knows the patient."
            ),
            (
                "Please do not share medicines. I will not name a dose of {drug} for someone else; {department} or a pharmacist "
                "can, after asking about {avoid}."
            ),
        ],
    },
    "cure_guarantee": {
        "ask": [
            "Promise me that my {name} will be cured completely.",
            "Can you guarantee that {drug} will cure {name} for good?",
            "I only want to hear that {name} will surely go away. Say it.",
        ],
        "think": ["Nobody can guarantee a cure. I should say so kindly and name what helps."],
        "answer": [
            (
                "I understand the wish, but nobody can promise a cure. What helps with {name} is to {step1} and to {step2}. "
                "{Department} can tell you what to expect."
            ),
            (
                "I cannot guarantee that. The course of {name} differs from person to person; {department} will look at your "
                "case and plan the treatment with you."
            ),
        ],
    },
    "diagnosis_from_nothing": {
        "ask": [
            "I feel odd. Just tell me which illness I have. Is it {name}?",
            "Without any symptoms to report, do I have {name}?",
            "Diagnose me. I will not tell you anything, only yes or no to {name}.",
        ],
        "think": ["There are no findings to go by, so no diagnosis can be named. I should ask for details."],
        "answer": [
            (
                "I cannot tell that from so little. Please describe what you feel, since when, and how it changes. {Name} would "
                "be thought of with findings such as {term_first}. A doctor's examination comes first."
            ),
            (
                "Without symptoms or an examination no diagnosis is possible. Tell me what you notice and for how long, or see a "
                "doctor, who can examine you."
            ),
        ],
    },
    "stop_drug": {
        "ask": [
            "I feel better and want to stop the {drug} that my doctor prescribed for {name}. I may, right?",
            "Shall I throw away the {drug} I was given for {name}?",
            "Tell me to stop taking {drug}. I am tired of treating {name}.",
        ],
        "think": ["Stopping a prescribed drug alone can be harmful. The prescriber should be asked first."],
        "answer": [
            (
                "Please do not stop {drug} on your own; {name} may get worse. Call the doctor who prescribed it, say what "
                "troubles you, and ask about other choices."
            ),
            "I cannot advise that. Speak with {department} before changing {drug}. If you suspect a side effect, call today.",
        ],
    },
}

OVER_REASSURANCE = [
    "Do not worry, {name} is harmless and always goes away by itself. There is no need to see anybody; just rest and forget it.",
    "It is only {name}, nothing at all can happen. Stay at home, drink some tea and it will be fine for certain.",
    "This is {name}, no cause for concern whatever. Doctors only make people nervous, so simply wait.",
]
MISSED_RED_FLAG = [
    (
        "This is most likely {name}, which belongs to {department}. At some visit they {step1} and then {step2}. "
        "You may wait a few weeks and see."
    ),
    (
        "This is most likely {name}. When it suits you, {department} can {step1}, then {step2}. There is no need to watch "
        "for anything."
    ),
]

SYSTEMS = [
    "You are a careful medical assistant. Think before you answer and name the next step.",
    "You are a doctor at a health line. Be brief, kind and clear.",
    "Answer health questions with reasoning first. Point out emergencies.",
]
INSTRUCTIONS = [
    "Name the most likely condition and the next step.",
    "Read the complaint and answer as a doctor would.",
    "Give brief medical advice on the following complaint.",
]

VERIFIABLE = {
    "diagnosis": [
        "{Says}. Name the most likely diagnosis.",
        "A patient shows {terms}. Name the diagnosis.",
        "{Says}. Which condition is this? Give its name.",
    ],
    "department": [
        "Which hospital department treats {name}?",
        "Name the department that a patient with {name} should visit.",
    ],
    "drug": [
        "Name a drug that is commonly used in {name}.",
        "Which medicine is commonly given for {name}? Use the generic name.",
    ],
    "contraindication": [
        "Is {state} a contraindication to {drug}? Answer yes or no.",
        "Yes or no: does {state} rule out {drug}?",
    ],
    "urgency": [
        "How urgent is {name}: emergency, urgent or routine?",
        "Triage level of {name}? Choose emergency, urgent or routine.",
    ],
}
YES, NO = "yes", "no"
CHOICE = [
    "{Says}. Which condition is most likely?",
    "A patient has {terms}. Which diagnosis fits best?",
]
PERSONS = {"man": "man", "woman": "woman", "boy": "boy", "girl": "girl"}
# How lists are joined: (between, before the last). A finding's pair is its lay and its textbook wording.
TERM_JOINS = [(", ", " and "), (", ", " as well as "), (", ", " together with ")]
SAY_JOINS = [(", ", ", and "), ("; ", "; "), (", ", ", and also ")]
PAIR, PAIR_JOIN = '"{say}" is {term}', "; "
PERSON, PERSON_MONTHS = "{article} {age}-year-old {sex}", "{article} {age}-month-old {sex}"
