%% Runs scenarios on OTP's own supervisor and writes what happened, line by line.
%%
%% The format of both files is described in otp/scenario.rs and otp/trace.rs. One scenario runs at a
%% time, and the virtual machine is to have one scheduler (`+S 1:1`): every process of a tree has
%% priority high, the driver of the steps priority normal, so the driver runs again when nothing of the
%% tree can. The collector of events has priority max; it monitors each process, so an end is told in
%% the order of ends.
-module(reference).
-behaviour(supervisor).
-export([main/1, start/2, start/3, init/1]).

-define(T, reference).
-define(ENDLESS, 1000000000).

-record(def, {id, restart, significant, shutdown, body, starts}).
-record(sup, {strategy, max, auto, children}).

main([In, Out]) ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    ets:new(?T, [named_table, public, {read_concurrency, false}]),
    Collector = spawn_opt(fun() -> collect([], #{}) end, [{priority, max}, link]),
    register(collector, Collector),
    {ok, Text} = file:read_file(In),
    {ok, File} = file:open(Out, [write, raw, {delayed_write, 1 bsl 18, 1000}]),
    scenarios(binary:split(Text, <<"\n">>, [global]), File),
    ok = file:close(File),
    halt(0).

%% ---------------------------------------------------------------- the file of scenarios

scenarios([<<>>], _File) ->
    ok;
scenarios([<<"scenario ", Name/binary>> | Lines], File) ->
    ets:delete_all_objects(?T),
    {Steps, Rest} = definitions(Lines),
    Traces = [step(Step) || Step <- [[<<"boot">>] | Steps] ++ [[<<"stop">>]]],
    ok = file:write(File, [<<"scenario ">>, Name, $\n, Traces, <<"end\n">>]),
    flush(),
    scenarios(Rest, File).

definitions([Line | Lines]) ->
    case binary:split(Line, <<" ">>, [global]) of
        [<<"def">>, No, Id, Restart, Significant, Shutdown | Body] ->
            {Kind, Starts} = body(Body),
            Def = #def{id = Id, restart = binary_to_atom(Restart),
                       significant = binary_to_atom(Significant), shutdown = time(Shutdown),
                       body = Kind, starts = Starts},
            ets:insert(?T, {{def, No}, Def}),
            definitions(Lines);
        [<<"hook">>, No, N | Do] ->
            Key = {hook, No, binary_to_integer(N)},
            Before = case ets:lookup(?T, Key) of [{_, Hooks}] -> Hooks; [] -> [] end,
            ets:insert(?T, {Key, Before ++ [Do]}),
            definitions(Lines);
        [<<"steps">>] ->
            steps(Lines, [])
    end.

steps([<<"end">> | Rest], Steps) -> {lists:reverse(Steps), Rest};
steps([Line | Lines], Steps) -> steps(Lines, [binary:split(Line, <<" ">>, [global]) | Steps]).

body([<<"worker">>, Answer, Starts]) ->
    {binary_to_atom(Answer), starts(Starts)};
body([<<"sup">>, Strategy, Max, Auto, Children, Starts]) ->
    {#sup{strategy = binary_to_atom(Strategy), max = binary_to_integer(Max),
          auto = binary_to_atom(Auto), children = numbers(Children)},
     starts(Starts)}.

starts(<<"-">>) -> <<>>;
starts(Starts) -> Starts.

numbers(<<"-">>) -> [];
numbers(List) -> binary:split(List, <<",">>, [global]).

time(<<"brutal_kill">>) -> brutal_kill;
time(<<"infinity">>) -> infinity;
time(Milliseconds) -> binary_to_integer(Milliseconds).

%% ---------------------------------------------------------------- steps

step(Step) ->
    Result = perform(Step),
    settle(),
    Events = ask(collector, take),
    [[[event(Event), $\n] || Event <- Events], <<"r ">>, Result, $\n].

perform([<<"boot">>]) ->
    word(start_body(<<"r">>, 1, <<"0">>));
perform([<<"stop">>]) ->
    case live(<<"r">>) of
        {_, Pid} -> exit(Pid, shutdown), <<"ok">>;
        none -> <<"none">>
    end;
perform([<<"exit">>, Path, Reason]) ->
    case live(Path) of
        {_, Pid} -> hit(Pid, Reason), <<"ok">>;
        none -> <<"none">>
    end;
perform([<<"change">>, Path, No]) ->
    case supervisor_at(Path) of
        {ok, Pid, Old} -> change(Path, Pid, Old, No);
        none -> <<"noproc">>
    end;
perform([Call, Path | Arguments]) ->
    case supervisor_at(Path) of
        {ok, Pid, _} ->
            try gen_server:call(Pid, request(Call, Path, Arguments), infinity) of
                Reply -> reply(Call, Reply)
            catch
                exit:_ -> <<"noproc">>
            end;
        none -> <<"noproc">>
    end.

change(Path, Pid, Old, No) ->
    Key = {override, Path, Old},
    Before = ets:lookup(?T, Key),
    ets:insert(?T, {Key, No}),
    ok = sys:suspend(Pid),
    Result = sys:change_code(Pid, ?MODULE, undefined, []),
    ok = sys:resume(Pid),
    case Result of
        ok ->
            <<"ok">>;
        {error, _} ->
            ets:delete(?T, Key),
            ets:insert(?T, Before),
            <<"refused">>
    end.

hit(Pid, <<"killed">>) -> exit(Pid, kill);
hit(Pid, Reason) -> Pid ! {die, reason(Reason)}.

reason(<<"shutdown:term">>) -> {shutdown, term};
reason(Reason) -> binary_to_atom(Reason).

request(<<"which">>, _, []) -> which_children;
request(<<"count">>, _, []) -> count_children;
request(<<"start">>, Path, [No]) -> {start_child, child_spec(Path, No)};
request(<<"spawn">>, _, [Id]) -> {start_child, [Id]};
request(<<"restart">>, _, [Id]) -> {restart_child, Id};
request(<<"delete">>, _, [Id]) -> {delete_child, Id};
request(<<"terminate">>, Path, [<<"#", _/binary>> = Id]) ->
    Pid = case ets:lookup(?T, {live, child_path(Path, Id)}) of
        [{_, {_, Last}}] -> Last;
        [] -> whereis(collector)
    end,
    {terminate_child, Pid};
request(<<"terminate">>, _, [Id]) -> {terminate_child, Id}.

reply(<<"which">>, Children) ->
    Words = [which(Child) || Child <- Children],
    IsDynamic = lists:any(fun({Id, _, _, _}) -> Id =:= undefined end, Children),
    Sorted = case IsDynamic of true -> lists:sort(Words); false -> Words end,
    lists:join($\s, [<<"which">> | Sorted]);
reply(<<"count">>, Counts) ->
    Keys = [specs, active, supervisors, workers],
    lists:join($\s, [<<"count">> | [integer_to_binary(proplists:get_value(K, Counts)) || K <- Keys]]);
reply(_, Reply) ->
    word(Reply).

which({undefined, Pid, _, _}) when is_pid(Pid) ->
    [{_, {Path, N}}] = ets:lookup(?T, {pid, Pid}),
    iolist_to_binary([lists:last(binary:split(Path, <<"/">>, [global])), $=, integer_to_binary(N)]);
which({undefined, Word, _, _}) ->
    atom_to_binary(Word);
which({Id, Child, _, _}) ->
    iolist_to_binary([Id, $=, child(Child)]).

child(Pid) when is_pid(Pid) ->
    [{_, {_, N}}] = ets:lookup(?T, {pid, Pid}),
    integer_to_binary(N);
child(Word) ->
    atom_to_binary(Word).

word(ok) -> <<"ok">>;
word({ok, Child}) -> [<<"ok ">>, child(Child)];
word(ignore) -> <<"ok undefined">>;
word({error, {already_started, Pid}}) -> [<<"already_started ">>, child(Pid)];
word({error, {bad_combination, _}}) -> <<"refused">>;
word({error, Known}) when Known =:= already_present; Known =:= not_found; Known =:= running;
                          Known =:= restarting; Known =:= simple_one_for_one ->
    atom_to_binary(Known);
word({error, _}) -> <<"error">>.

event({start, Path, N, Outcome}) ->
    [<<"start ">>, Path, $\s, integer_to_binary(N), $\s, Outcome];
event({stop, Path, N, {shutdown, term}}) ->
    event({stop, Path, N, 'shutdown:term'});
event({stop, Path, N, Reason}) when is_atom(Reason) ->
    [<<"stop ">>, Path, $\s, integer_to_binary(N), $\s, atom_to_binary(Reason)];
event({stop, Path, N, Reason}) ->
    Flat = [C || C <- lists:flatten(io_lib:format("~0p", [Reason])), C =/= $\s],
    [<<"stop ">>, Path, $\s, integer_to_binary(N), $\s, Flat];
event({answer, Path, Words}) ->
    [<<"answer ">>, Path, $\s, Words].

%% Until nothing of the tree can run, and each supervisor waits for a message rather than for a timer. A
%% supervisor has priority normal for a moment, before its init: what is looked at may move meanwhile, and that
%% shows by an event.
settle() ->
    erlang:yield(),
    Before = ask(collector, count),
    Supervisors = [Pid || [Pid] <- ets:match(?T, {{sup, '$1'}, '_', '_'})],
    AllIdle = lists:all(fun idle/1, Supervisors),
    erlang:yield(),
    case AllIdle andalso ask(collector, count) =:= Before of
        true -> ok;
        false -> receive after 1 -> settle() end
    end.

idle(Pid) ->
    case process_info(Pid, [current_function, message_queue_len]) of
        undefined -> ets:delete(?T, {sup, Pid}), true;
        [{_, {gen_server, loop, _}}, {_, 0}] -> true;
        [{_, {erlang, hibernate, _}}, {_, 0}] -> true;
        _ -> false
    end.

live(Path) ->
    case ets:lookup(?T, {live, Path}) of
        [{_, {N, Pid}}] ->
            case is_process_alive(Pid) of true -> {N, Pid}; false -> none end;
        [] -> none
    end.

supervisor_at(Path) ->
    case live(Path) of
        {_, Pid} ->
            case ets:lookup(?T, {sup, Pid}) of
                [{_, No, _}] -> {ok, Pid, No};
                [] -> none
            end;
        none -> none
    end.

flush() -> receive _ -> flush() after 0 -> ok end.

%% ---------------------------------------------------------------- starting children

child_path(Parent, Id) -> <<Parent/binary, $/, Id/binary>>.

child_spec(Path, No) ->
    [{_, Def}] = ets:lookup(?T, {def, No}),
    Type = case Def#def.body of #sup{} -> supervisor; _ -> worker end,
    #{id => Def#def.id, start => {?MODULE, start, [Path, No]}, restart => Def#def.restart,
      significant => Def#def.significant, shutdown => Def#def.shutdown, type => Type}.

%% Runs in the process of the supervisor.
start(Parent, No) ->
    [{_, Def}] = ets:lookup(?T, {def, No}),
    start(Parent, No, Def#def.id).

start(Parent, No, Id) ->
    [{_, #def{starts = Starts}}] = ets:lookup(?T, {def, No}),
    Path = child_path(Parent, Id),
    N = ets:update_counter(?T, {starts, Path}, 1, {{starts, Path}, 0}),
    case ets:lookup(?T, {hook, No, N}) of
        [{_, Hooks}] ->
            case ets:lookup(?T, {sup, self()}) of
                [{_, _, up}] -> [hook(Parent, Id, Hook) || Hook <- Hooks];
                _ -> not_yet
            end;
        [] -> none
    end,
    case N =< byte_size(Starts) andalso binary:at(Starts, N - 1) of
        $i -> collector ! {event, {start, Path, N, <<"ignore">>}}, ignore;
        $e -> collector ! {event, {start, Path, N, <<"error">>}}, {error, boom};
        _ -> start_body(Path, N, No)
    end.

start_body(Path, N, No) ->
    [{_, #def{body = Body}}] = ets:lookup(?T, {def, No}),
    case Body of
        #sup{} ->
            case supervisor:start_link(?MODULE, [Path, N, No]) of
                {ok, Pid} = Ok ->
                    ets:insert(?T, {{sup, Pid}, No, up}),
                    ask(collector, {up, Path, N, Pid}),
                    Ok;
                Error ->
                    collector ! {event, {start, Path, N, <<"error">>}},
                    Error
            end;
        Answer ->
            Parent = self(),
            Pid = spawn_opt(fun() -> worker(Parent, Answer) end, [link, {priority, high}]),
            receive {Pid, ready} -> ok end,
            known(Path, N, Pid),
            ask(collector, {born, Path, N, Pid}),
            {ok, Pid}
    end.

known(Path, N, Pid) ->
    ets:insert(?T, [{{live, Path}, {N, Pid}}, {{pid, Pid}, {Path, N}}]).

%% The callback of the supervisor; called again for a change of code.
init([Path, N, No]) ->
    case get(registered) of
        undefined ->
            process_flag(priority, high),
            put(registered, true),
            known(Path, N, self()),
            ets:insert(?T, {{sup, self()}, No, starting}),
            ask(collector, {starting, Path, N, self()});
        true -> ok
    end,
    Now = case ets:lookup(?T, {override, Path, No}) of [{_, Other}] -> Other; [] -> No end,
    [{_, #def{body = Sup}}] = ets:lookup(?T, {def, Now}),
    #sup{strategy = Strategy, max = Max, auto = Auto, children = Children} = Sup,
    {ok, {#{strategy => Strategy, intensity => Max, period => ?ENDLESS, auto_shutdown => Auto},
          [child_spec(Path, Child) || Child <- Children]}}.

%% What happens while a child starts: the supervisor hears of it when it is done with that.
hook(Parent, _, [<<"exit">>, Id, Reason]) ->
    Path = child_path(Parent, Id),
    case supervisor_at(Path) =:= none andalso live(Path) of
        false ->
            ok;
        {_, Pid} ->
            Monitor = monitor(process, Pid),
            hit(Pid, Reason),
            receive {'DOWN', Monitor, process, Pid, _} -> ok end;
        none -> ok
    end;
hook(Parent, Own, [Call | Arguments]) ->
    Named = [case Argument of <<".">> -> Own; _ -> Argument end || Argument <- Arguments],
    self() ! {'$gen_call', {whereis(collector), {answer, Parent, Call}}, request(Call, Parent, Named)}.

worker(Parent, Answer) ->
    process_flag(trap_exit, Answer =/= obeys),
    Parent ! {self(), ready},
    wait(Parent, Answer).

wait(Parent, Answer) ->
    receive
        {die, Reason} -> exit(Reason);
        {'EXIT', Parent, shutdown} when Answer =:= stubborn -> wait(Parent, Answer);
        {'EXIT', Parent, shutdown} -> exit(Answer);
        {'EXIT', Parent, Reason} -> exit(Reason)
    end.

%% ---------------------------------------------------------------- the collector of events

ask(To, What) ->
    Reference = make_ref(),
    To ! {ask, self(), Reference, What},
    receive {Reference, Reply} -> Reply end.

collect(Events, Alive) ->
    receive
        {event, Event} ->
            collect([Event | Events], Alive);
        {ask, From, Reference, take} ->
            From ! {Reference, lists:reverse(Events)},
            collect([], Alive);
        {ask, From, Reference, count} ->
            From ! {Reference, length(Events)},
            collect(Events, Alive);
        {ask, From, Reference, {born, Path, N, Pid}} ->
            monitor(process, Pid),
            From ! {Reference, ok},
            collect([{start, Path, N, <<"ok">>} | Events], Alive#{Pid => {Path, N}});
        {ask, From, Reference, {starting, _, _, Pid}} ->
            monitor(process, Pid),
            From ! {Reference, ok},
            collect(Events, Alive);
        {ask, From, Reference, {up, Path, N, Pid}} ->
            From ! {Reference, ok},
            collect([{start, Path, N, <<"ok">>} | Events], Alive#{Pid => {Path, N}});
        {'DOWN', _, process, Pid, Reason} ->
            case Alive of
                #{Pid := {Path, N}} ->
                    collect([{stop, Path, N, Reason} | Events], maps:remove(Pid, Alive));
                #{} ->
                    collect(Events, Alive)
            end;
        {{answer, Path, Call}, Reply} ->
            collect([{answer, Path, reply(Call, Reply)} | Events], Alive)
    end.
