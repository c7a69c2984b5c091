"""The report's own words in both languages. Labels of measures and tasks come with them; a group's name is here."""

from __future__ import annotations

from bedside.evaluate.said import Said

TITLE = Said("Evaluation report", "评测报告")
LEAKAGE = Said("Leakage", "数据泄漏")
VERDICT = Said("In short", "结论")
OVERVIEW = Said("All measures", "全部指标")
LEGEND = Said(
    "Value [95 % interval]. ▲ clearly better and ▼ clearly worse than {baseline}, after Holm's correction over all "
    "measures of that comparison; no mark: no clear change.",
    "数值 [95 % 置信区间]。▲ 明显优于、▼ 明显劣于 {baseline}（对该次比较的全部指标作 Holm 校正）；"
    "无标记：无明显变化。",
)
ALONE = Said("Value [95 % interval].", "数值 [95 % 置信区间]。")
MEASURE = Said("measure", "指标")
MODEL = Said("model", "模型")
ITEMS = Said("items", "题数")
BEFORE, AFTER = Said("before", "之前"), Said("after", "之后")
TASK, VALUE, SOURCE = Said("task", "任务"), Said("value", "数值"), Said("source", "来源")
KIND, DIRECTION, METHOD = Said("what it is", "含义"), Said("direction", "方向"), Said("interval; test", "区间；检验")
TRAINED_FILE, EVALUATED_FILE = Said("training file", "训练文件"), Said("evaluated file", "评测文件")
CHANGE = Said("change", "变化")
P_VALUE = Said("p", "p 值")
ADJUSTED = Said("p, Holm", "校正后 p（Holm）")
EFFECT = Said("effect size", "效应量")
DETECTABLE = Said("detectable", "可检出")
NOTES_ON_CHANGES = Said(
    "p is of the paired test named below, p (Holm) is corrected for the number of measures of the comparison. Effect "
    "size: Cohen's h of a share, d_z (mean over standard deviation of the differences) of a mean, log ratio in nats a "
    "token of a perplexity. Detectable is the smallest change that so many items would show in four of five studies.",
    "p 为下列配对检验的结果，p（Holm）按该次比较的指标数校正。效应量：比例用 Cohen's h，均值用 d_z"
    "（差值均值除以标准差），困惑度用每词元对数比（纳特）。“可检出”指该题数在五次研究中有四次能看出的最小变化。",
)
VERDICT_OF_ONE = Said("verdict", "判断")
CHANGES = Said("{model}: changes against {baseline}", "{model}：相对 {baseline} 的变化")
GROUPS = Said("By {group}", "按{group}")
CASES = Said("Cases side by side", "病例对比")
CASES_NOTE = Said(
    "Chosen by {measure}: the largest changes for the better, as many for the worse, and some drawn at random "
    "(seed {seed}). Of {n:,} questions {better:,} went better, {worse:,} worse, {same:,} the same.",
    "按“{measure}”选取：变好最多的、变差最多的，以及随机抽取的（种子 {seed}）。"
    "共 {n:,} 题：变好 {better:,}，变差 {worse:,}，不变 {same:,}。",
)
REASONS = {
    "better": Said("better", "变好"),
    "worse": Said("worse", "变差"),
    "random": Said("drawn at random", "随机抽取"),
}
FAILURES = Said("Failures", "失败项")
FAILED = Said("{model} {count:,} of {n:,}", "{model} {n:,} 题中 {count:,} 题")
CHANCE = Said("Guessing would be right in {chance:.1f} %.", "随机猜测的正确率为 {chance:.1f} %。")
YES, NO = Said("yes", "是"), Said("no", "否")
MORE = Said("and {count:,} more, in report.json", "另有 {count:,} 项，见 report.json")
JUDGED = Said("Answers judged in pairs", "成对评判")
JUDGED_NOTE = Said(
    "The win rate counts a tie as half a win: 50 % is no difference. Net wins are wins less losses, as a share of all "
    "questions.",
    "胜率中平局计半胜，50 % 即无差别。净胜为胜减负占全部题目的比例。",
)
PAIR = Said("models", "模型")
JUDGE = Said("judge", "评判者")
WIN_RATE = Said("win rate", "胜率")
NET = Said("net wins", "净胜")
TALLY = Said("won / tied / lost", "胜 / 平 / 负")
RECORDS = Said("Results of other harnesses", "其他评测框架的结果")
CLEAN = Said("Without the items that stand in training data", "剔除训练数据中出现过的题")
EVERY = Said("all items", "全部题目")
KEPT = Said("without leaked items", "剔除泄漏题")
LOOKED = Said("What was searched", "检查范围")
TRAINING_ROW, EVALUATION_ITEM = Said("training row", "训练行"), Said("evaluation item", "评测题")
HOW, SHARE_HELD = Said("how", "方式"), Said("share of the item", "所含比例")
ROWS, LEAKED = Said("rows", "行数"), Said("leaked", "泄漏")
HOWS = {
    "verbatim": Said("word for word", "逐字相同"),
    "respelled": Said("spelled otherwise", "写法不同"),
    "overlap": Said("most of its words, in runs", "大段重合"),
    "near": Said("nearly the same text", "近似重复"),
}
DEFINITIONS = Said("What the measures are", "指标说明")
BETTER = {
    "higher": Said("higher is better", "越高越好"),
    "lower": Said("lower is better", "越低越好"),
    None: Said("neither direction is better", "无优劣方向"),
}
KINDS = {
    "share": Said("share of the items, in per cent", "占题目的百分比"),
    "mean": Said("mean of the items", "各题平均值"),
    "perplexity": Said(
        "exp of the summed loss over the number of tokens, long items weigh more",
        "总损失除以词元数再取指数，长文权重更大",
    ),
}
PROVENANCE = Said("Where the numbers come from", "数据来源")
QUESTION, EXPECTED = Said("question", "问题"), Said("expected", "标准答案")
THOUGHT, ANSWER = Said("thought", "思考"), Said("answer", "回答")
NO_ANSWER = Said("(no answer)", "（无回答）")
NOT_TAKEN = "–"
PLOTS = {
    "changes": Said(
        "Changes against {baseline}, 95 % intervals. Filled: clear after Holm's correction. ↓: lower is better.",
        "相对 {baseline} 的变化，95 % 置信区间。实心：Holm 校正后仍明显。↓：越低越好。",
    ),
    "stages": Said("Measures from stage to stage, 95 % intervals", "各阶段指标，95 % 置信区间"),
    "judged": Said("Win rates, 95 % intervals", "胜率，95 % 置信区间"),
    "letters": Said(
        "Letters chosen in multiple choice, over every order of the options", "选择题所选字母分布（含全部选项排列）"
    ),
}
GROUP_NAMES = {
    "language": "语言", "lang": "语言", "department": "科室", "kind": "类型", "file": "文件", "format": "格式",
    "subject": "科目", "split": "划分", "seen": "是否见过", "source": "来源", "type": "题型", "condition": "疾病",
    "urgency": "紧急程度", "length": "长度", "fault": "错误类型", "document": "文档", "set": "数据集",
}  # fmt: skip
VERDICTS = {
    "better": Said("better", "变好"),
    "worse": Said("worse", "变差"),
    "no clear change": Said("no clear change", "无明显变化"),
    "higher": Said("higher", "升高"),
    "lower": Said("lower", "降低"),
}
ABOUT = {
    "model": Said("model", "模型"),
    "lineage": Said("lineage id", "谱系编号"),
    "parents": Said("made from", "来源模型"),
    "base": Said("base", "基座"),
    "template": Said("template", "模板"),
    "precision": Said("precision", "精度"),
    "command": Said("command", "命令"),
    "data": Said("data (SHA-256)", "数据（SHA-256）"),
    "settings": Said("settings", "设置"),
    "versions": Said("versions", "版本"),
    "hardware": Said("hardware", "硬件"),
    "commit": Said("commit", "提交"),
    "date": Said("date", "日期"),
}


def group_name(name: str) -> Said:
    """A group's name, in Chinese where it is a usual one."""
    return Said(name.replace("_", " "), GROUP_NAMES.get(name, name))


def filled(said: Said, **values: object) -> Said:
    """Both sentences with `{names}` filled in; a value that is a Said goes in by its language.

    >>> filled(Said("by {x}", "按{x}"), x=Said("kind", "类型")).zh
    '按类型'
    """
    parts = [
        {name: value[side] if isinstance(value, Said) else value for name, value in values.items()} for side in (0, 1)
    ]
    return Said(said.en.format(**parts[0]), said.zh.format(**parts[1]))
