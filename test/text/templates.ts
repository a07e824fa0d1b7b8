/** Chat templates in the forms of published models, written for these tests. */

/** ChatML: Falcon-H1, Qwen. */
export const CHATML = `{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
`;

/** Roles in tokens of their own, tools as JSON in the system turn: Granite 4. */
export const GRANITE = `{%- macro turn(role, content) -%}
    {{- '<|start_of_role|>' + role + '<|end_of_role|>' + content + '<|end_of_text|>\\n' -}}
{%- endmacro -%}
{#- what a turn of the system says -#}
{%- set ns = namespace(system='') %}
{%- if messages[0].role == 'system' %}
    {%- set ns.system = messages[0].content %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- if tools %}
    {%- set ns.system = ns.system + '\\nTools:' %}
    {%- for tool in tools %}
        {%- set ns.system = ns.system + '\\n' + (tool | tojson) %}
    {%- endfor %}
{%- endif %}
{%- if ns.system %}
    {{- turn('system', ns.system) }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' and message.tool_calls %}
        {%- set calls = namespace(text='') %}
        {%- for call in message.tool_calls %}
            {%- set calls.text = calls.text + '<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' %}
        {%- endfor %}
        {{- turn('assistant', calls.text) }}
    {%- elif message.role in ['user', 'assistant', 'tool'] %}
        {{- turn(message.role, message.content) }}
    {%- else %}
        {{- raise_exception('Unknown role ' ~ message.role) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_of_role|>assistant<|end_of_role|>' }}
{%- endif %}`;

/** The template writes the first token, and wants turns to alternate: Llama, Mistral. */
export const LLAMA = `{{ bos_token }}{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{% endif %}
{{ '[' + message['role'] + ']' + message['content'] + eos_token }}{% endfor %}`;
